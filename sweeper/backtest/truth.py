"""The file of known outcomes that `sweeper backtest --truth` reads: a JSON list with a row for each trial.

    [{"number": 7, "failed": true, "class": ["frozen", "stuck"], "task": "digits", "run": "zoo-a"},
     {"params": {"lr": 0.1}, "seed": 2, "failed": false}]

A row is about the trial with this `number`, or about all trials with these `params`, and with this `seed` if it is
given. `failed` is true, false, or null for a trial on the border. `class` lists the diagnoses any of which is right.
`run` is the name of a run directory. Other keys are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.backtest.case import Case, Recording, Truth
from sweeper.errors import UsageError
from sweeper.rules.diagnoses import DIAGNOSES

LONGEST = 60
"""Maximum number of characters of a value in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a file: which trials it is about, and what is true of them. `where` names the row in messages."""

    where: str
    number: int | None
    params: Mapping[str, object]
    seed: int | None
    run: str
    truth: Truth

    def is_about(self, case: Case) -> bool:
        """Return whether the row is about a trial of its run."""
        if self.number is not None:
            return case.number == self.number
        named = all(name in case.params and case.params[name] == value for name, value in self.params.items())
        return named and self.seed in (None, case.seed)


def read_truth(path: Path) -> list[Row]:
    """Return the rows of a file of known outcomes.

    Raises:
        UsageError: the file cannot be read, or a row is not as described at the top of this module.
    """
    try:
        rows = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: expected a file of known outcomes, got: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: expected JSON, got: {error}") from error
    if not isinstance(rows, list):
        raise UsageError(f"{path}: expected a list of rows, got {_shown(rows)}")
    return [_row(f"{path}: row {index}", row) for index, row in enumerate(rows, 1)]


def with_truth(recording: Recording, rows: Sequence[Row], numbers: Collection[int], *, several: bool) -> Recording:
    """Return the recording with the known outcomes of its trials.

    Args:
        rows: those of one file, which may be about other runs too.
        numbers: all trials of the run, including those that are no cases.
        several: whether the file is about several runs, so that each row has to name its run.

    Raises:
        UsageError: a row does not name its run, its number is that of no trial, or two rows are about one trial.
    """
    truth: dict[int, Truth] = {}
    source: dict[int, Row] = {}
    about = False
    for row in rows:
        if several and not row.run:
            raise UsageError(f"{row.where}: run: expected the name of a run directory, since several runs are given")
        if row.run and row.run != recording.name:
            continue
        about = True
        if row.number is not None and row.number not in numbers:
            raise UsageError(f"{row.where}: number: expected a trial of the run {recording.name}, got {row.number}")
        for case in filter(row.is_about, recording.cases):
            if case.number in source:
                both = f"{source[case.number].where} and {row.where}"
                raise UsageError(f"{both}: expected one row about each trial, got two about {case.number:04d}")
            truth[case.number], source[case.number] = row.truth, row
    if rows and not about:
        names = ", ".join(_shown(name) for name in sorted({row.run for row in rows}))
        raise UsageError(
            f"{rows[0].where}: run: expected at least one row about the run {recording.name}, got rows about {names}"
        )
    return replace(recording, truth=truth)


def _row(where: str, row: object) -> Row:
    if not isinstance(row, dict):
        raise UsageError(f'{where}: expected an object such as {{"number": 7, "failed": true}}, got {_shown(row)}')
    number, seed = (_optional(where, row, key, int, "a whole number") for key in ("number", "seed"))
    params = _optional(where, row, "params", dict, "an object of parameters")
    if number is None and params is None:
        raise UsageError(f"{where}: expected number or params, to know which trial it is about, got {_shown(row)}")
    if "failed" not in row or not (row["failed"] is None or isinstance(row["failed"], bool)):
        got = _shown(row["failed"]) if "failed" in row else "nothing"
        raise UsageError(f"{where}: failed: expected true, false or null, got {got}")
    classes = _optional(where, row, "class", list, "a list of diagnoses") or []
    for name in classes:
        if not isinstance(name, str) or name not in DIAGNOSES:
            raise UsageError(
                f"{where}: class: expected names of diagnoses ({', '.join(DIAGNOSES)}), got {_shown(name)}"
            )
    return Row(
        where=where,
        number=number,
        params=params or {},
        seed=seed,
        run=_optional(where, row, "run", str, "the name of a run directory") or "",
        truth=Truth(
            failed=row["failed"],
            classes=tuple(classes),
            task=_optional(where, row, "task", str, "the name of a task") or "",
        ),
    )


def _optional(where: str, row: Mapping[str, Any], key: str, kind: type, expected: str) -> Any:  # noqa: ANN401 - of `kind`
    value = row.get(key)
    if value is None or type(value) is kind:
        return value
    raise UsageError(f"{where}: {key}: expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
