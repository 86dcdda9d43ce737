"""The evidence of a decision as text: single values and tables of rows; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.results.wording import brief, number

EvidenceTable = tuple[Sequence[str], Sequence[Sequence[str]]]


def split_evidence(evidence: Mapping[str, object]) -> tuple[list[tuple[str, str]], list[EvidenceTable]]:
    """Return the single values by name, and the tables.

    A value that is a list of rows, such as ``[step, value]``, becomes a table: its column heads and its rows as text.
    Columns without a name are numbered from 3.
    """
    single: list[tuple[str, str]] = []
    tables: list[EvidenceTable] = []
    statistic = str(evidence.get("statistic", "value"))
    for name, value in evidence.items():
        if _is_rows(value):
            width = max(len(row) for row in value)  # type: ignore[attr-defined]  # _is_rows has checked it
            head = [f"{name}: step", statistic, *(str(i) for i in range(3, width + 1))][:width]
            tables.append((head, [[_cell(cell) for cell in row] for row in value]))  # type: ignore[attr-defined]
        else:
            single.append((name, _cell(value)))
    return single, tables


def _is_rows(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    return all(isinstance(row, Sequence) and not isinstance(row, str) and row for row in value)


def _cell(value: object) -> str:
    return number(value) if isinstance(value, float) else brief(value)
