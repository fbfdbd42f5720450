"""Measured side by side with what others use. `python -m benchmarks` writes RESULTS.md; nothing else imports this."""
