"""Columns that are cut: cells that differ stay different as far as there is room."""

from __future__ import annotations

import csv
import io

import pytest

from sweeper.results.columns import Column, fitted, lines_of, shorten_apart
from sweeper.results.export import Export

PROMPT = "You are a helpful assistant that "
CELLS = [
    f"{PROMPT}answers",
    f"{PROMPT}asks",
    "short",
    f"{PROMPT}asks",
    "a" * 20 + "1" + "a" * 20,
    "a" * 20 + "2" + "a" * 20,
]


@pytest.mark.parametrize("width", [8, 12, 20, 30])
def test_different_texts_stay_different(width: int) -> None:
    cut = shorten_apart(CELLS, width)
    assert len(set(cut)) == len(set(CELLS))
    assert cut[1] == cut[3]
    assert max(map(len, cut)) <= width


def test_texts_with_different_beginnings_are_cut_at_their_end() -> None:
    assert shorten_apart(["abcdefgh", "bcdefghi"], 5) == ["abcd…", "bcde…"]


def test_a_table_that_is_too_wide_keeps_its_rows_apart() -> None:
    columns = [Column(head="prompt", cells=CELLS, apart=True), Column(head="state", cells=["WAITING"] * 6, firm=True)]
    lines = lines_of(fitted(columns, 24))[1:]
    assert len(set(lines)) == len(set(CELLS))
    assert max(map(len, lines)) <= 24


def _cells(*cells: bool | float | str | None) -> list[str]:
    text = Export(columns=["params.x"], rows=[[cell] for cell in cells]).csv()
    return [row[0] if row else "" for row in csv.reader(io.StringIO(text))][1:]


def test_values_of_different_types_differ_in_csv() -> None:
    assert _cells(*(True, "True", 1, "1", "adam", None, "")) == ["True", '"True"', "1", '"1"', "adam", "", '""']


def test_a_column_of_text_is_as_it_is_in_csv() -> None:
    long = "x" * 3000
    assert _cells("True", "0012", long) == ["True", "0012", long], "records and exports are not cut"
    assert _cells("0012", None) == ["0012", ""]
