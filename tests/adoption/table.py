"""Print the table of docs/adopt.md: `python -m tests.adoption.table`. Each script is run with and without lines."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sweeper.record.events import Event, Metrics
from tests.adoption.families import FAMILIES, SCRIPTS, Family, adopted, inferred, metric, observations, run

HEADS = (
    "Script",
    "Lines by hand",
    "Found without lines",
    "Observed steps",
    "Metrics",
    "Equal",
    "Not seen without lines",
)


def main() -> int:
    """Run all families, and print the table in Markdown."""
    rows = [HEADS, ("---",) * len(HEADS), *map(row, FAMILIES)]
    sys.stdout.write("\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n")
    return 0


def row(family: Family) -> tuple[str, ...]:
    """Run one family, and return its cells."""
    recorded = {}
    with tempfile.TemporaryDirectory() as folder:
        for with_lines in (False, True) if family.losses else (False,):
            path = adopted(Path(folder) / str(with_lines), family.script, with_lines=with_lines)
            code, output, recorded[with_lines] = run(path, *family.arguments, command=family.command)
            if code:
                raise SystemExit(output)
    found, seen = inferred(recorded[False]), observations(recorded[False])
    lines = len(re.findall("# sweeper: ", (SCRIPTS / family.script).read_text())) if family.losses else 0
    what = "; ".join(", ".join(names) for kind, names in found.items() if kind in ("trainer", "optimizers", "models"))
    equal = "-" if True not in recorded else "yes" if _equal(family, recorded[False], recorded[True]) else "no"
    names = ", ".join(f"`{name}`" for name in _metrics(recorded[False]))
    return (family.name, str(lines or "-"), what or "-", str(len(seen)), names, equal, family.unseen)


def _metrics(events: Sequence[Event]) -> list[str]:
    return sorted({name for event in events if isinstance(event, Metrics) for name in event.values})


def _equal(family: Family, first: Sequence[Event], second: Sequence[Event]) -> bool:
    """Whether observations are equal, and losses are within the rounding of float32."""
    return observations(first) == observations(second) and all(
        one.keys() == other.keys() and all(abs(one[step] - other[step]) <= 1e-6 * abs(other[step]) for step in one)
        for one, other in ((metric(first, name), metric(second, name)) for name in family.losses)
    )


if __name__ == "__main__":
    sys.exit(main())
