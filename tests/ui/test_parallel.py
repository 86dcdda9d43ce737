"""The axes of parallel coordinates: numbers, logarithms and words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.results.per_trial import Columns
from sweeper.ui.parallel import MOST_WORDS, OTHERS, parallel_of
from tests.views.synthetic import facts


def trials(values: Sequence[object]) -> Columns:
    run, columns = SweepDir(Path("runs/s")), Columns()
    made = {
        number: TrialRecord(directory=run.trial(number), facts=facts(number, params={"x": value}, shown={"x": value}))
        for number, value in enumerate(values)
    }
    columns.take(made, made.keys())
    return columns


def test_numbers_are_a_column_and_the_metric_is_the_last_axis() -> None:
    found = parallel_of(trials([1.0, 2.5, None]), 7)
    assert (found.revision, found.maximize, found.numbers) == (7, True, [0, 1, 2])
    assert [(axis.key, axis.column, axis.words) for axis in found.axes] == [
        ("param:x", [1.0, 2.5, None], ()),
        ("value", [None, None, None], ()),
    ]


@pytest.mark.parametrize(
    ("values", "log"), [([1e-5, 1e-1], True), ([0.0, 1e-1], False), ([1.0, 2.0], False), ([-1.0, 100.0], False)]
)
def test_positive_numbers_far_apart_are_logarithmic(values: list[float], log: bool) -> None:
    assert parallel_of(trials(values), 0).axes[0].log is log


def test_words_booleans_and_lists_have_places() -> None:
    axis = parallel_of(trials(["b", "a", True, [1, 2], None]), 0).axes[0]
    assert axis.words == ["[1, 2]", "a", "b", "true"]
    assert axis.column == [2, 1, 3, 0, None]


def test_many_words_share_the_last_place() -> None:
    axis = parallel_of(trials([f"word {n % 60:02d}" for n in range(90)]), 0).axes[0]
    assert len(axis.words) == MOST_WORDS
    assert axis.words[-1] == OTHERS
    assert max(value for value in axis.column if value is not None) == MOST_WORDS - 1


def test_no_trials_have_no_axes() -> None:
    assert parallel_of(Columns(), 0).axes == []
