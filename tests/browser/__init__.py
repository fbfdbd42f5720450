"""What only a real browser shows. All of it runs in one process, with one Chromium and, where a test harms nothing,
one server: other tests keep the second core busy beside it."""
