"""What `sweeper why` says about the search: the value with which a trial counts, and why it is not its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.config import SweepSpec
from sweeper.record.events import Asked, Event, Imputed, Learned, LearnedConfiguration, Told
from sweeper.record.facts import Facts
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.results.told import MOST_ROWS, SearchRecord, read_search, search_text, told_lines
from tests.config.conftest import sweep

BAD = LearnedConfiguration(configuration=0, params={}, state="FAIL", value=None, failed=1.0, why="error")
FACTS = Facts(number=0, configuration=0, seed=0, params={}, shown={}, command=[], metric="m", maximize=True)
ASKED = Asked(configuration=0, params={"lr": 1e-3})
START = Asked(configuration=0, params={"lr": 1e-3}, start={"lr": 1e-3})


def failure(value: float | None = None, imputed: float | None = 2.0) -> Told:
    return Told(configuration=0, state="FAIL", value=value, imputed=imputed, why="error")


def read(path: Path, events: Sequence[Event], **keys: object) -> SearchRecord:
    run = SweepDir(path)
    with JournalWriter(run.search) as journal:
        journal.extend(events)
    return read_search(run, SweepSpec.from_json(sweep(**{"method": "tpe", **keys})))


def trial(path: Path, number: int = 0, configuration: int = 0) -> TrialRecord:
    facts = replace(FACTS, number=number, configuration=configuration)
    return TrialRecord(directory=SweepDir(path).trial(number), facts=facts)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([ASKED, failure()], ["it counts as 2, the worst value so far, because it failed: error"]),
        (
            [ASKED, failure(), Imputed(value=3.0)],
            ["it counts as 3, the worst value so far (2 when it ended), because it failed: error"],
        ),
        (
            [ASKED, failure(imputed=None)],
            ["it counts not, because it failed (error) and no trial has a finite value yet"],
        ),
        (
            [ASKED, failure(imputed=None), Imputed(value=3.0)],
            ["it counts as 3, the worst value so far, because it failed: error"],
        ),
        (
            [ASKED, failure(value=1.0)],
            ["it counts as 2, the mean over its seeds, with the worst value for each seed that failed: error"],
        ),
        ([ASKED, failure(), Told(configuration=0, state="COMPLETE", value=0.5)], []),
        ([START, Told(configuration=0, state="COMPLETE", value=0.5)], ["it was made from start_with: lr=1e-3"]),
        ([START], ["it was made from start_with: lr=1e-3"]),
        ([], []),
    ],
)
def test_a_receipt_has_the_value_that_the_search_was_told(
    tmp_path: Path, events: Sequence[Event], said: Sequence[str]
) -> None:
    lines = told_lines(read(tmp_path, events), trial(tmp_path))
    assert lines == (["", "in the search (tpe):", *(f"  {line}" for line in said)] if said else [])


def test_a_search_that_does_not_learn_counts_nothing(tmp_path: Path) -> None:
    record = read(tmp_path, [ASKED, failure(imputed=None)], method="random")
    assert told_lines(record, trial(tmp_path)) == []
    assert "random does not learn from results." in search_text(record, [])


def test_a_population_is_not_said_to_ignore_results(tmp_path: Path) -> None:
    text = search_text(read(tmp_path, [ASKED], method="pbt"), [])
    assert "pbt lets the worst members continue from the best ones after each turn." in text
    assert "does not learn" not in text


def test_the_table_has_each_result_and_what_was_learned(tmp_path: Path) -> None:
    other = Learned(run="old", configurations=(BAD, replace(BAD, why="")), left_out={"lacks lr": 3})
    forgotten = Learned(run="gone", configurations=())
    second = Asked(configuration=1, params={"lr": 2e-3})
    told = [failure(), Told(configuration=1, state="COMPLETE", value=0.25)]
    record = read(tmp_path, [other, forgotten, START, second, *told, Imputed(value=3.0)], learn_from=["old"])
    trials = [trial(tmp_path), trial(tmp_path, 1, 1), trial(tmp_path, 2, 1)]
    assert search_text(record, trials).splitlines() == [
        "search: tpe, 2 proposals, 2 of them with a result",
        "learn_from: old: 2 configurations taken (1 failed because of their parameters); left out: 3 (lacks lr)",
        "",
        "configuration  trials     state     value  counts as  why",
        "0              0000       FAIL      -      3          error; start_with",
        "1              0001 0002  COMPLETE  0.25   0.25",
    ]


def test_a_large_search_shows_its_newest_results(tmp_path: Path) -> None:
    told = [Told(configuration=number, state="COMPLETE", value=1.0) for number in range(MOST_ROWS + 7)]
    lines = search_text(read(tmp_path, told), []).splitlines()
    assert lines[1] == f"The newest {MOST_ROWS} configurations with a result:"
    assert lines[-1].startswith(str(MOST_ROWS + 6))
    assert len(lines) == MOST_ROWS + 4


def test_several_objectives_have_a_value_each(tmp_path: Path) -> None:
    both = {"objectives": [{"name": "loss"}, {"name": "ms"}], "method": "nsga2", "metric": None}
    good = Told(configuration=0, state="COMPLETE", value=0.5, values={"loss": 0.5, "ms": 7.0})
    bad = Told(
        configuration=1, state="FAIL", value=None, imputed=0.5, imputed_values={"loss": 0.5, "ms": 7.0}, why="error"
    )
    worse = Imputed(value=0.75, values={"loss": 0.75, "ms": 9.0})
    record = read(tmp_path, [ASKED, replace(ASKED, configuration=1), good, bad, worse], **both)
    assert "loss, ms" in search_text(record, [])
    assert "0.5, 7" in search_text(record, [])
    said = "  it counts as 0.75, 9, the worst values so far (0.5, 7 when it ended), because it failed: error"
    assert said in told_lines(record, trial(tmp_path, 1, configuration=1))
