"""Which trials of a large sweep are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.events import Exit, Launched, Lost
from sweeper.record.progress import Progress, Series
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord
from sweeper.views.figures.trial_figures import TrialFigures
from sweeper.views.tensorboard.process import SweepProjection, project
from sweeper.views.tensorboard.selection import hidden_trials
from tests.record.trials import trial_of
from tests.views.synthetic import Script, make_trial, play


def trial(number: int, value: float | None = None, *, ended: float | None = None, launched: bool = True) -> TrialRecord:
    metrics = {} if value is None else {"m": Series.of([(value, 0)])}
    end = Exit(time=ended or 0.0, attempt=1, code=1, signal=None, cause="error", peak_memory_mb=1)
    control = [Launched(attempt=1, slot="a")] if launched else []
    made = trial_of(control, exits=[] if ended is None else [end], number=number)
    return replace(made, progress=Progress(metrics=metrics))


def test_few_are_all_shown() -> None:
    assert hidden_trials([trial(0, ended=1), trial(1), trial(2, launched=False)], 2) == set()


def test_running_then_best_then_latest() -> None:
    trials = [trial(0, 0.9, ended=1), trial(1, 0.1, ended=2), trial(2, 0.2, ended=9), trial(3, 0.3, ended=3), trial(4)]
    assert hidden_trials(trials, 3) == {1, 3}
    assert hidden_trials(trials, 1) == {0, 1, 2, 3}


@given(
    st.lists(st.tuples(st.none() | st.floats(), st.none() | st.floats(), st.booleans()), max_size=12),
    st.integers(1, 12),
)
def test_as_many_trials_are_shown_as_there_are_up_to_the_limit(
    made: list[tuple[float | None, float | None, bool]], most: int
) -> None:
    trials = [trial(n, value, ended=end, launched=launched) for n, (value, end, launched) in enumerate(made)]
    started = {one.facts.number for one in trials if one.attempts}
    hidden = hidden_trials(trials, most)
    assert hidden <= started
    assert len(started - hidden) == min(most, len(started))
    running = {one.facts.number for one in trials if one.state is State.RUNNING}
    assert not hidden & running or len(running) > most


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    for number in range(4):
        play(make_trial(run, number), Script(until=10))
    return run


def shown(run: SweepDir) -> list[str]:
    return sorted(path.name[:4] for path in run.tensorboard.iterdir())


def test_hidden_trials_are_removed_and_it_is_reported(run: SweepDir, capfd: pytest.CaptureFixture[str]) -> None:
    project(run, 30)
    assert shown(run) == ["0000", "0001", "0002", "0003"]
    project(run, 30, most_runs=2)
    assert len(shown(run)) == 2
    assert "at most 2 of 4 trials" in capfd.readouterr().err
    project(run, 30, most_runs=4)
    assert shown(run) == ["0000", "0001", "0002", "0003"]


def test_a_hidden_trial_that_runs_again_is_shown(run: SweepDir) -> None:
    projector = SweepProjection(run=run, figures_every=30, figures=TrialFigures(), report=lambda _: None, most_runs=1)
    projector.project()
    (only,) = shown(run)
    again = next(run.trial(number) for number in range(4) if f"{number:04d}" != only)
    with JournalWriter(again.control) as control:
        control.append(Lost(attempt=1))
        control.append(Launched(attempt=2, slot="a"))
    projector.project()
    projector.project()
    assert shown(run) == [again.path.name]
