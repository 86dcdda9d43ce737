"""Run the fault matrix with `python -m tests.faults.report`; write docs/faults.jsonl and the table in docs/faults.md.

Moments that are in the log are not tried again, unless they failed. So the matrix can be run in pieces, on one machine
and then on another, and resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.faults.harness import Fault, Outcome, trial_of
from tests.faults.matrix import FAULTS, MOMENTS_OF_A_ROW, SLOW_MOMENTS_OF_A_ROW, seeds_of
from tests.faults.sweeps import LAUNCHES, ROOT

DOCUMENT, LOG = ROOT / "docs" / "faults.md", ROOT / "docs" / "faults.jsonl"
BEGIN, END = "<!-- written by make faults, from here -->", "<!-- to here -->"

Cell = tuple[Fault, int]


def main() -> int:
    """Run the matrix; return 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="make faults ARGS=...", description=__doc__)
    parser.add_argument("--moments", type=int, default=MOMENTS_OF_A_ROW, metavar="N", help="per row (%(default)s)")
    parser.add_argument(
        "--slow-moments",
        type=int,
        default=SLOW_MOMENTS_OF_A_ROW,
        metavar="N",
        help="moments of the slow faults of each row (default: %(default)s)",
    )
    parser.add_argument("--rows", type=_rows, default=(), metavar="R,...", help="rows to run (default: all)")
    parser.add_argument("--only", nargs="+", default=(), metavar="FAULT", help="faults to run, by name")
    parser.add_argument("--seed", type=int, metavar="S", help="run this seed only, even if the log has it")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="J",
        help="concurrent sweeps (all cores)",
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="time after which no further sweep begins")
    parser.add_argument("--log", type=Path, default=LOG, metavar="FILE", help="log of all outcomes (docs/faults.jsonl)")
    parser.add_argument("--write", action="store_true", help="run nothing, and write the document again")
    given = parser.parse_args()
    faults = [fault for fault in FAULTS if _wanted(fault, given.rows, given.only)]
    cells = [] if given.write else _missing(faults, given, latest(_read(given.log)))
    until = None if given.minutes is None else time.monotonic() + 60 * given.minutes
    failed = False
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(lambda cell: _tried(cell, until), cells):
            if outcome is not None:
                failed |= bool(outcome.problems)
                _say(outcome)
                with given.log.open("a") as log:
                    log.write(json.dumps(_told(outcome)) + "\n")
    if given.log == LOG:
        write(_read(given.log))
    return int(failed)


def _missing(
    faults: Sequence[Fault], given: argparse.Namespace, known: Mapping[tuple[str, int], Outcome]
) -> list[Cell]:
    """Return what is to be tried: one moment of each fault and launch first, then the same share of each row.

    So the matrix has no holes if it is interrupted.
    """
    if given.seed is not None:
        return [(fault, given.seed) for fault in faults]
    seeds = {fault.name: seeds_of(fault, given.moments, given.slow_moments) for fault in faults}
    passed = {cell for cell, outcome in known.items() if not outcome.problems}
    wanted = [(fault, seed) for fault in faults for seed in seeds[fault.name] if (fault.name, seed) not in passed]
    return sorted(wanted, key=lambda cell: (cell[1] // 2 and cell[1] / len(seeds[cell[0].name]), cell[1] % 2))


def _tried(cell: Cell, until: float | None) -> Outcome | None:
    """Return the outcome; None if the time is over, or if this machine cannot simulate the fault."""
    if until is not None and time.monotonic() > until:
        return None
    fault, seed = cell
    commit = _commit()  # read before the trial: later edits were not tried
    try:
        outcome = trial_of(fault, seed)
    except pytest.skip.Exception as reason:
        print(f"{fault.name} {seed}: skipped: {reason}", flush=True)  # noqa: T201 - progress
        return None
    except Exception:  # noqa: BLE001 - a defect of the harness or machine is no outcome; it is tried again
        print(f"{fault.name} {seed}: the harness: {traceback.format_exc()}", flush=True)  # noqa: T201 - as above
        return None
    return replace(outcome, commit=commit)


def write(outcomes: Sequence[Outcome]) -> None:
    """Write the generated part of the document."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{document(outcomes)}{END}{after}")


def document(outcomes: Sequence[Outcome]) -> str:
    """Return the table, the failures, and the commits at which they were tried."""
    last = latest(outcomes)
    lines = ["| row | fault | `spawn` | `preload` | outcome | `make faults ARGS=` |", "|---|---|---|---|---|---|"]
    told: set[int] = set()
    for fault in FAULTS:
        own = [outcome for outcome in last.values() if outcome.fault == fault.name]
        lines.append(_line(fault, own, last.values(), first=fault.row not in told))
        told.add(fault.row)
    commits = Counter(outcome.commit for outcome in last.values())
    tried = ", ".join(f"{commit} ({count})" for commit, count in sorted(commits.items(), key=lambda one: -one[1]))
    forked = sum(outcome.forked for outcome in last.values())
    text = "\n".join(lines) + f"\n\nMoments by the commit at which they were tried: {tried}. Under `preload`, "
    text += f"{forked:,} workers were forked; the others were launched before the preloading was done.\n"
    failing = [outcome for outcome in last.values() if outcome.problems]
    mended = [outcome for outcome in outcomes if outcome.problems and not last[outcome.fault, outcome.seed].problems]
    text += _list("Failed when last tried", failing)
    return text + _list("Failed, and passed when tried again", mended)


def latest(outcomes: Iterable[Outcome]) -> dict[tuple[str, int], Outcome]:
    """Return the last outcome of each fault and seed."""
    return {(outcome.fault, outcome.seed): outcome for outcome in outcomes}


def _line(fault: Fault, own: Sequence[Outcome], everything: Iterable[Outcome], *, first: bool) -> str:
    of_row = {other.name for other in FAULTS if other.row == fault.row and not other.exhaustive}
    row = f"**{fault.row}**: {sum(outcome.fault in of_row for outcome in everything)}" if first else ""
    passed = sum(not outcome.problems for outcome in own)
    word = "not run" if not own else "passed" if passed == len(own) else f"{passed} of {len(own)} passed"
    tries = [sum(outcome.tries for outcome in own if outcome.launch == launch) for launch in LAUNCHES]
    counts = [f"{tries[0]:,} (all)", ""] if fault.exhaustive and own else [f"{count:,}" for count in tries]
    return f"| {row} | {fault.title} | {' | '.join(counts)} | {word} | `--only {fault.name}` |"


def _list(title: str, outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    lines = [
        f"- `{o.fault}`, seed {o.seed}, {o.launch}, at {o.commit}: {' '.join('; '.join(o.problems).split())[:300]}"
        for o in outcomes
    ]
    return f"\n{title}:\n\n" + "\n".join(lines) + "\n"


def _wanted(fault: Fault, rows: Iterable[int], names: Iterable[str]) -> bool:
    return fault.name in names if names else not rows or fault.row in rows


def _rows(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _told(outcome: Outcome) -> dict[str, object]:
    """Return a line of the log without default values. The moment follows from the seed, so only failures keep it."""
    dull: dict[str, object] = {"tries": 1, "forked": 0, "problems": (), "kept": outcome.kept}
    dull |= {} if outcome.problems else {"moment": outcome.moment}
    return {name: value for name, value in asdict(outcome).items() if name not in dull or value != dull[name]}


def _read(log: Path) -> list[Outcome]:
    if not log.exists():
        return []
    kept = [json.loads(line) for line in log.read_text().splitlines()]
    return [Outcome(**{"moment": "", **told, "problems": tuple(told.get("problems", ()))}) for told in kept]


def _commit() -> str:
    """Return the commit of this tree, with a plus if the package has uncommitted changes."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True).stdout.strip()
    edited = subprocess.run([*git, "status", "--porcelain", "sweeper"], capture_output=True, text=True).stdout.strip()
    return f"{head}{'+' if edited else ''}"


def _say(outcome: Outcome) -> None:
    word = "; ".join([*outcome.problems, f"kept in {outcome.kept}"] if outcome.problems else ["passed"])
    print(  # noqa: T201 - progress
        f"{outcome.fault} {outcome.seed} {outcome.launch} ({outcome.moment}, {outcome.seconds:.1f} s): {word}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
