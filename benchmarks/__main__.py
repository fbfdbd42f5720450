"""How this project compares: python -m benchmarks [a b c d e] [--quick]. All of them in full write RESULTS.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from time import perf_counter

import torch

from benchmarks import gif, playback, sampling, steps, training
from benchmarks.table import Row, SkippedError, machine, markdown, skipped

BENCHMARKS = {"a": training, "b": steps, "c": sampling, "d": gif, "e": playback}
RESULTS = Path(__file__).with_name("RESULTS.md")


def measured(letters: Sequence[str], quick: bool) -> list[Row]:
    """The rows of the benchmarks asked for; one row that says why of what cannot be measured here."""
    table = []
    for letter in letters:
        about, began = (BENCHMARKS[letter].__doc__ or letter).splitlines()[0], perf_counter()
        print(about, file=sys.stderr)
        try:
            rows = BENCHMARKS[letter].rows(quick)
        except (SkippedError, ImportError) as error:
            rows = [skipped(about, error)]
        print(*(f"    {' | '.join(row)}" for row in rows), sep="\n", file=sys.stderr)
        print(f"    measured in {perf_counter() - began:.0f} s", file=sys.stderr)
        table += rows
    return table


def report(table: Sequence[Row], command: str, busy: Sequence[float]) -> str:
    """RESULTS.md: when, where and how, and the table. busy: the load of the machine before and after."""
    return f"""# Measured side by side

- Date: {date.today().isoformat()}
- Machine: {machine()}, load {busy[0]:.1f} before, {busy[1]:.1f} after
- Command: `{command}`

Ours and theirs are measured in turn, on one thread each. The ratio says how many times faster ours is, or, where theirs
is a limit of the machine, how near to it ours comes.

{markdown(table)}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it if it is complete."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("letters", nargs="*", metavar="a ... e", help="which ones; none: all of them")
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean little")
    options = parser.parse_args(arguments)
    letters = options.letters or list(BENCHMARKS)
    if unknown := [letter for letter in letters if letter not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]}: there are {', '.join(BENCHMARKS)}")
    torch.set_num_threads(1)
    before = os.getloadavg()[0]
    table = measured(letters, options.quick)
    text = report(table, "python -m benchmarks", (before, os.getloadavg()[0]))
    print(markdown(table))
    if letters == list(BENCHMARKS) and not options.quick:
        before_it = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
        _, begins, kept = before_it.partition("\n# ")  # what benchmarks.gpu and benchmarks.class measured
        RESULTS.write_text(text + begins + kept, encoding="utf-8")
        print(f"written to {RESULTS}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
