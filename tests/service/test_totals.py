"""Sums over columns say what the functions over all trials say, after every change."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.record.budget import Usage
from sweeper.record.events import Diagnosed, Metrics, Revived
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import acquire
from sweeper.record.trial import State
from sweeper.results.front import front_of
from sweeper.results.health.trial_health import counts_text
from sweeper.results.ranking import end_text, ranked, significance_text
from sweeper.results.snapshot import savings_of
from sweeper.service import totals
from sweeper.service.open_run import OpenRun
from tests.results.test_front import LOSS
from tests.results.test_front import make as make_several
from tests.service.runs import append, end, launch, make_trial, prune, report, small


def check(run: OpenRun) -> None:
    run.look_at([trial.number for trial in run.view.trials])
    sweep, view = run.sweep(), run.view
    assert sweep.verdict == end_text(view.state.lower(), view.trials)
    assert sweep.health == counts_text(view.trials)
    assert sweep.savings == savings_of(view).text()
    assert sweep.significance == significance_text(view)
    assert sweep.counts == {state.value: count for state in State if (count := view.count(state))}
    assert totals.seconds_left(run.columns, view) == pytest.approx(view.seconds_left, nan_ok=True)
    whole = Usage.of(view.trials, view.log, now=view.now, running=False, limits=view.limits)
    assert totals.usage(run.columns, view, running=False) == whole
    assert [row.number for row in run.trials().rows] == [trial.number for trial in ranked(view.trials)]


def test_they_follow_a_sweep_that_changes(tmp_path: Path) -> None:
    directory = small(tmp_path)
    run = OpenRun(directory)
    check(run)
    lease = acquire(directory.lease, holder="a test")
    assert lease is not None
    check(run)
    trial = launch(make_trial(directory, 4), [0.3])
    check(run)
    report(trial, [0.9, 0.95], first=1)
    check(run)
    found = Diagnosed(
        time=30.0, attempt=1, diagnosis="vanishing_gradient", since=1, step=2, holds=True, reason="why", evidence={}
    )
    append(trial.control, found)
    check(run)
    prune(trial)
    check(run)
    append(directory.trial(1).control, Revived(time=70.0, attempt=1))
    check(run)
    end(launch(make_trial(directory, 5), [0.99]))
    check(run)
    lease.release()
    check(run)


def test_they_follow_a_sweep_with_several_objectives(tmp_path: Path) -> None:
    check(OpenRun(make_several(tmp_path)))


def test_a_trial_without_a_process_is_lost_once_nothing_runs_the_sweep(tmp_path: Path) -> None:
    directory: SweepDir = small(tmp_path)
    run, lease = OpenRun(directory), acquire(directory.lease, holder="a test")
    assert lease is not None
    launch(make_trial(directory, 4), [0.3])
    before = run.sweep()
    assert before.counts["RUNNING"] == 1
    lease.release()
    run.look_at([])
    after = run.sweep()
    assert "RUNNING" not in after.counts
    assert after.revision > before.revision


def test_what_rested_follows_although_nothing_more_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def later() -> float:
        now[0] += 1.0  # so a value rests for a while
        return now[0]

    monkeypatch.setattr("sweeper.results.rested.monotonic", later)
    directory = make_several(tmp_path)
    lease = acquire(directory.lease, holder="a test")
    assert lease is not None
    run = OpenRun(directory)
    first = run.sweep()
    number = first.front[0]  # the best in the first objective, and in no other
    worse = Metrics(time=99.0, step=99, values={LOSS: 1000.0})
    append(directory.trial(number).attempt(1).events, worse)
    run.look_at([number])
    before = run.sweep()
    now[0] += 1000.0
    run.look_at([])
    after = run.sweep()
    assert after.revision > before.revision
    assert after.front == [trial.number for trial in front_of(run.view.trials)] != before.front
    run.look_at([])
    assert run.sweep().revision == after.revision
    lease.release()
