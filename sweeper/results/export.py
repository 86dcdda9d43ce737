"""Export a sweep as a table for other programs: one row per trial, one column per parameter or fact."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import UsageError
from sweeper.record.derivation import START, Derivation
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import reads_as_other_kind
from sweeper.record.values.redaction import redacted_values
from sweeper.results.front import has_ranks, trial_ranks
from sweeper.results.receipt import value_step
from sweeper.results.snapshot import SweepView, steps_done
from sweeper.results.wording import plain

Cell = bool | int | float | str | None

_LEAST, _MOST = -(2**63), 2**63 - 1
"""The whole numbers that Parquet can hold."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Prefixes that make a spreadsheet read text as a formula (OWASP, "CSV Injection")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The column names, and one row per trial in the order of their numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def csv(self) -> str:
        """Return the table as CSV. Text that a spreadsheet would execute is prefixed with an apostrophe."""
        file = io.StringIO(newline="")
        writer = csv.writer(file)
        writer.writerow(_harmless(column) for column in self.columns)
        writer.writerows(map(_harmless, row) for row in self._told_apart())
        return file.getvalue()

    def _told_apart(self) -> Iterator[Sequence[Cell]]:
        """Return the rows, with quotes around texts such as `True` in columns that have other values than text, too."""
        columns: list[Sequence[Cell]] = [
            _quoted([row[index] for row in self.rows]) for index in range(len(self.columns))
        ]
        return zip(*columns, strict=True)

    def write_parquet(self, path: Path) -> None:
        """Write the table as Parquet. A column with values of several types, or too large ones, is written as text.

        Raises:
            UsageError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            message = 'writing Parquet needs pyarrow, which is not installed: pip install "sweeper[parquet]"'
            raise UsageError(message) from error
        columns = {name: _of_one_type([row[i] for row in self.rows]) for i, name in enumerate(self.columns)}
        # A column without any value has no type of its own; it is declared as text.
        arrays = {
            name: pa.array(cells, pa.string() if all(cell is None for cell in cells) else None)
            for name, cells in columns.items()
        }
        parquet.write_table(pa.table(arrays), path)


def export_of(sweep: SweepView) -> Export:
    """Return the table of a sweep. Parameters are columns named `params.NAME`."""
    names = list(dict.fromkeys(name for trial in sweep.trials for name in trial.facts.params))
    derived = any(trial.is_derived for trial in sweep.trials)
    lineage = _LINEAGE if derived else ()
    columns = [*_FACTS, *lineage, *_ranking_columns(sweep.trials), *(f"params.{name}" for name in names)]
    ranks = trial_ranks(sweep.trials)
    rows = [_row(trial, names, sweep.now, ranks.get(trial.facts.number), derived=derived) for trial in sweep.trials]
    return Export(columns=columns, rows=rows)


def _ranking_columns(trials: Sequence[TrialRecord]) -> list[str]:
    """Return the columns of a sweep with several objectives or constraints; a rank of 0 is the Pareto front."""
    if not has_ranks(trials):
        return []
    facts = trials[0].facts
    objectives = [f"objectives.{one.name}" for one in facts.objectives]
    return [*objectives, *(f"constraints.{one.name}" for one in facts.constraints), "feasible", "rank"]


def _ranking_cells(trial: TrialRecord, rank: int | None) -> list[Cell]:
    facts, known = trial.facts, trial.constrained
    if not has_ranks([trial]):
        return []
    values = [*(trial.values or (None,) * len(facts.objectives))] if facts.objectives else []
    return [*values, *(known.get(one.name) for one in facts.constraints), trial.is_feasible, rank]


_FACTS = (
    *("number", "configuration", "seed", "state", "value", "value_step", "last"),
    *("steps", "total_steps", "attempts", "seconds", "cause", "pruned_by", "pruned_at", "reason"),
)


_LINEAGE = ("parent", "parent_step", "derived_by")
"""The columns of a sweep with derived trials: the parent, the last step taken over, and who or what derived it."""


def _row(
    trial: TrialRecord, names: Sequence[str], now: float, rank: int | None, *, derived: bool = False
) -> list[Cell]:
    stop = trial.newest.stop
    decision = stop.decision if trial.state is State.PRUNED and stop is not None else None
    facts: list[Cell] = [
        trial.facts.number,
        trial.facts.configuration if trial.facts.is_searched else None,
        trial.facts.seed,
        trial.state.value,
        trial.value,
        value_step(trial) if trial.value is not None else None,
        trial.series.last if trial.series is not None else None,
        steps_done(trial),
        trial.progress.total_steps,
        len(trial.attempts),
        round(trial.seconds(now), 3),
        trial.newest.cause or None,
        *((decision.rule, decision.step, plain(decision.reason)) if decision is not None else (None, None, None)),
    ]
    params = redacted_values(trial.facts.params)
    facts += _lineage_cells(trial.facts.derived) if derived else []
    return [*facts, *_ranking_cells(trial, rank), *(_cell(params.get(name)) for name in names)]


def _lineage_cells(derived: Derivation | None) -> list[Cell]:
    if derived is None:
        return [None] * len(_LINEAGE)
    return [derived.parent, None if derived.step == START else derived.step, plain(derived.by)]


def _cell(value: object) -> Cell:
    return value if value is None or isinstance(value, bool | int | float) else plain(value)


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _of_one_type(cells: Sequence[Cell]) -> list[Cell]:
    types = {type(cell) for cell in cells if cell is not None}
    if any(isinstance(cell, int) and not _LEAST <= cell <= _MOST for cell in cells):
        return [None if cell is None else str(cell) for cell in _quoted(cells)]
    if len(types) <= 1:
        return list(cells)
    if types == {int, float}:
        return [None if cell is None else float(cell) for cell in cells]
    return [None if cell is None else str(cell) for cell in _quoted(cells)]


def _quoted(cells: Sequence[Cell]) -> Sequence[Cell]:
    """Return the cells, with quotes around texts that read like one of the other cells might."""
    kinds = {type(cell) for cell in cells}
    if str not in kinds or kinds == {str}:
        return cells
    missing_only = kinds == {str, type(None)}
    return [
        f'"{cell}"' if isinstance(cell, str) and (not cell if missing_only else reads_as_other_kind(cell)) else cell
        for cell in cells
    ]
