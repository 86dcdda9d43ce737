"""Columns of trials: only what has changed is computed."""

from __future__ import annotations

from pathlib import Path

from sweeper.record.trial import TrialRecord
from sweeper.results.per_trial import Columns
from sweeper.results.trial_set import TrialSet
from tests.service.runs import launch, make_trial, report, small


def take(columns: Columns, trials: TrialSet) -> None:
    changed = trials.poll()
    columns.take(trials.trials, changed)


def test_a_column_is_computed_for_the_trials_that_have_changed(tmp_path: Path) -> None:
    run, columns, asked = small(tmp_path), Columns(), []

    def value(trial: TrialRecord) -> float | None:
        asked.append(trial.number)
        return trial.value

    trials = TrialSet(run)
    take(columns, trials)
    known = dict(columns.of(value))
    assert sorted(asked) == [0, 1, 2, 3]
    assert known == {number: trial.value for number, trial in trials.trials.items() if trial.value is not None}
    report(launch(make_trial(run, 4), []), [0.75], first=1)
    take(columns, trials)
    asked.clear()
    assert columns.of(value) == {**known, 4: 0.75}
    assert asked == [4]
    assert columns.of(lambda trial: trial.state.value, "state")[4] == "RUNNING"


def test_a_trial_that_is_gone_has_no_value(tmp_path: Path) -> None:
    trials, columns = TrialSet(small(tmp_path)), Columns()
    take(columns, trials)
    assert 0 in columns.of(lambda trial: trial.number, "number")
    columns.take({number: trial for number, trial in trials.trials.items() if number}, {0})
    assert 0 not in columns.of(lambda trial: trial.number, "number")
