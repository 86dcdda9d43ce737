"""The fault matrix: `python -m tests.faults.report --moments 20 --rows 1,2`; writes docs/faults.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.faults.harness import ROOT, Fault, Outcome, trial_of
from tests.faults.matrix import FAULTS

DOCUMENT = ROOT / "docs" / "faults.md"
HEAD = """# Faults

What was done to small sweeps in real processes, at random moments, and whether everything held afterwards: the table
and the TensorBoard points are those of an undisturbed sweep, no complete line of the record is lost, no trial had two
workers at once, no process and no lease is left, one more `sweeper run` launches nothing, nobody printed a traceback.
`tests/faults/harness.py` says how. A moment is a length of the record and a short delay, chosen by a seed, from 0 on.

Written by `make faults`; a moment that failed stands below the table with its seed (`--seed S --moments 1` repeats it).

| row | fault | moments | outcome | command |
|---|---|---|---|---|
"""


def main() -> int:
    """Run the matrix; returns 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog="make faults ARGS=...", description=__doc__)
    parser.add_argument("--moments", type=int, default=100, metavar="N", help="of each fault (100)")
    parser.add_argument("--slow-moments", type=int, default=20, metavar="N", help="at most, of those with torch (20)")
    parser.add_argument("--rows", type=_rows, default=(), metavar="R,...", help="of the matrix (all)")
    parser.add_argument("--only", nargs="+", default=(), metavar="FAULT", help="by name")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="sweeps at a time (cores)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="outcomes are appended here, and all in it reported")
    parser.add_argument("--dry", action="store_true", help="write no document")
    given = parser.parse_args()
    faults = [fault for fault in FAULTS if _wanted(fault, given.rows, given.only)]
    outcomes = _read(given.log)
    done = {(outcome.fault, outcome.seed) for outcome in outcomes}
    # A moment of each fault before the next of any: cut short, the matrix is thinner, and has no holes.
    seeds = range(given.seed, given.seed + given.moments)
    cells = [(f, s) for s in seeds for f in faults if not f.slow or s < given.seed + given.slow_moments]
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(lambda cell: trial_of(*cell), [c for c in cells if (c[0].name, c[1]) not in done]):
            outcomes.append(outcome)
            _say(outcome)
            if given.log:
                with given.log.open("a") as log:
                    log.write(json.dumps(asdict(outcome)) + "\n")
            if not given.dry:
                DOCUMENT.write_text(document(outcomes))
    if not given.dry:
        DOCUMENT.write_text(document(outcomes))
    return int(any(outcome.problems for outcome in outcomes))


def document(outcomes: Sequence[Outcome]) -> str:
    """The table, and what failed."""
    rows = "".join(_row(fault, [o for o in outcomes if o.fault == fault.name]) for fault in FAULTS)
    failed = [f"- `{o.fault}`, seed {o.seed}, {o.moment}: {'; '.join(o.problems)}\n" for o in outcomes if o.problems]
    return HEAD + rows + ("\n## What failed\n\n" + "".join(failed) if failed else "")


def _row(fault: Fault, outcomes: Sequence[Outcome]) -> str:
    passed = sum(not outcome.problems for outcome in outcomes)
    word = "not run" if not outcomes else "passed" if passed == len(outcomes) else f"{passed} of {len(outcomes)} passed"
    seeds = sorted(outcome.seed for outcome in outcomes)
    first = f" --seed {seeds[0]}" if seeds and seeds[0] else ""
    option = "--slow-moments" if fault.slow else "--moments"
    command = f'`make faults ARGS="--only {fault.name} {option} {len(outcomes)}{first}"`' if outcomes else ""
    return f"| {fault.row} | {fault.title} | {len(outcomes)} | {word} | {command} |\n"


def _wanted(fault: Fault, rows: Iterable[int], names: Iterable[str]) -> bool:
    return fault.name in names if names else not rows or fault.row in rows


def _rows(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _read(log: Path | None) -> list[Outcome]:
    if log is None or not log.exists():
        return []
    kept = [json.loads(line) for line in log.read_text().splitlines()]
    return [Outcome(**{**outcome, "problems": tuple(outcome["problems"])}) for outcome in kept]


def _say(outcome: Outcome) -> None:
    word = "; ".join(outcome.problems) or "passed"
    print(  # noqa: T201 - progress, for whoever waits
        f"{outcome.fault} {outcome.seed} ({outcome.moment}, {outcome.seconds:.1f} s): {word}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
