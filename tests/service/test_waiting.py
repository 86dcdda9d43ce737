"""`sweeper wait`: what happens, what is too late, and what can never happen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.errors import UsageError
from sweeper.record.events import Diagnosed
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import acquire
from sweeper.service.machine import SweepFile
from sweeper.service.start import run as start
from sweeper.service.waiting import HAPPENED, NEVER, TIMEOUT, wait
from tests.end_to_end.test_sweeps import LEARNER, Sweep, grid
from tests.service.runs import append, end, launch, make_run, make_trial, report, small


def test_what_has_happened_already_is_reported_at_once(tmp_path: Path) -> None:
    run = small(tmp_path)
    assert wait(run, "end").outcome == HAPPENED  # it was interrupted
    found = wait(run, "trial:1")
    assert (found.outcome, found.text) == (HAPPENED, "0001 pruned by stalled at step 4: the reach is 0.001")
    assert wait(run, "step:0:2").text == "0000 is at step 2"


@pytest.mark.parametrize("event", ["trial:3", "trial:9", "step:3:1", "step:0:7", "flag"])
def test_what_can_never_happen_ends_the_wait(tmp_path: Path, event: str) -> None:
    found = wait(small(tmp_path), event)
    assert found.outcome == NEVER
    assert "will" in found.text


def test_a_sweep_that_was_killed_never_ends(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    launch(make_trial(run, 0))
    found = wait(run, "end")
    assert found.outcome == NEVER
    assert "no process runs this sweep and trials are left" in found.text


def test_an_event_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected end, flag, trial:NUMBER or step:NUMBER:STEP, got 'step:1'"):
        wait(small(tmp_path), "step:1")


def test_a_wait_ends_when_it_happens_and_after_the_timeout(tmp_path: Path) -> None:
    """The clock is ours, and what happens meanwhile happens while the wait sleeps."""
    run = make_run(tmp_path)
    trial = launch(make_trial(run, 0), [0.1])
    other = launch(make_trial(run, 1), [0.1])
    lease = acquire(run.lease, holder="me")
    assert lease is not None
    moment, slept = 0.0, 0
    flag = Diagnosed(attempt=1, diagnosis="non_finite", step=1, since=1, holds=True, reason="NaN")

    def meanwhile() -> object:
        return None

    def clock() -> float:
        return moment

    def sleep(seconds: float) -> None:
        nonlocal moment, slept
        moment, slept = moment + max(seconds, 0.01), slept + 1
        if slept == 3:
            meanwhile()

    def outcome(event: str, then: Callable[[], object] = lambda: None) -> str:
        nonlocal slept, meanwhile
        slept, meanwhile = 0, then
        return wait(run, event, timeout=2.0, now=clock, sleep=sleep).outcome

    assert outcome("trial:0") == TIMEOUT
    assert outcome("step:0:2", lambda: report(trial, [0.2, 0.3], first=1)) == HAPPENED
    assert outcome("step:0:3") == TIMEOUT
    assert outcome("end") == TIMEOUT
    assert outcome("flag", lambda: append(other.control, flag)) == HAPPENED
    assert outcome("flag") == TIMEOUT  # it is not new any more
    assert outcome("trial:0", lambda: end(trial)) == HAPPENED
    assert outcome("end", lease.release) == NEVER  # the second trial is left, and no word of the orchestrator


@pytest.mark.slow
def test_shells_wait_for_a_real_sweep(tmp_path: Path) -> None:
    """A sweep is started as a process of its own; the exit codes tell what happened."""
    sweep = Sweep(tmp_path, LEARNER, grid("waited", pace=0.05))
    (tmp_path / "sweep.yaml").write_text(
        json.dumps(grid("waited", pace=0.05) | {"command": ["${interpreter}", str(tmp_path / "train.py"), "${args}"]})
    )
    started = start(
        SweepFile(file=tmp_path / "sweep.yaml", runs=tmp_path / "runs"), workers=1, by="agent 7", because="a test"
    )
    assert (Path(started.run), started.name) == (sweep.run_directory, "waited")
    code, out, err = sweep.call("wait", "runs/waited", "--for", "step:1:999", "--timeout", "0.2")
    assert (code, out) == (124, "runs/waited: step:1:999 did not happen within 0.2 s\n"), err
    code, out, err = sweep.call("wait", "runs/waited", "--for", "trial:0")
    assert (code, out) == (0, "0000 complete after 40 steps: best accuracy 820 at step 39, last 820\n"), err
    code, out, err = sweep.call("wait", "runs/waited", "--for", "end")
    assert code == 0, err
    assert "complete: 2 COMPLETE; health: 2 ok; best accuracy 1640 of 0001" in out
    code, out, err = sweep.call("wait", "runs/waited", "--for", "step:1:999")
    assert (code, err) == (1, "")
    assert "it will not reach step 999" in out
    log = (sweep.run_directory / "log.jsonl").read_text()
    assert '"do":"run"' in log
    assert '"by":"agent 7","because":"a test"' in log
    while "accuracy" not in Path(started.log).read_text():  # the ranking comes after the end
        time.sleep(0.05)
    assert SweepDir(sweep.run_directory).path / "run.log" == Path(started.log)


def test_a_sweep_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nmethod: grid\nparameters: {lr: {values: []}}\n")
    with pytest.raises(UsageError, match=r"parameters\.lr\.values"):
        start(SweepFile(file=tmp_path / "s.yaml", runs=tmp_path / "runs"))
