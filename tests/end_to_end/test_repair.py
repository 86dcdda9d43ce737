"""Repairs in real processes: a run that failed continues from before the failure with a change, and learns."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.derivation import REPAIR, START
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import holder_of
from sweeper.record.trial import State, TrialRecord
from tests.end_to_end.test_sweeps import PATIENCE_S, Sweep, until

DESCENT = """
import sweeper, time, torch
with sweeper.trial() as trial:
    torch.manual_seed(0)
    x = torch.nn.Parameter(torch.full((20,), 4.0))
    optimizer = torch.optim.SGD([x], lr=trial.params["lr"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 40))
    trial.plan(total_steps=400)
    state = trial.restore()
    if state is not None:
        x.data = state["x"]
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
    trial.note(f"base {schedule.base_lrs[0]:.6g} from {trial.next_step} seed {trial.seed}")
    for step in range(trial.next_step, 400):
        loss = (x ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        if SPIKE and step == 150 and trial.seed == 0:
            x.data += 100
        else:
            optimizer.step()
        schedule.step()
        trial.report({"loss/train": loss.item()}, step=step)
        if trial.should_save:
            trial.save({"x": x.data, "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, step=step)
        if trial.should_stop:
            break
        time.sleep(0.01)
"""
"""Gradient descent on a parabola: above a learning rate of 1 it diverges, during the warmup already."""


def file(**keys: Any) -> dict[str, Any]:
    return {
        "name": "repairs",
        "method": "grid",
        "metric": {"name": "loss/train", "goal": "minimize", "at": "last"},
        "checkpoint": {"every_steps": 5, "keep_healthy": 4},
        "early_stop": {"repair": "auto"},
        "parameters": {"lr": {"values": [0.05, 3.0]}},
        **keys,
    }


def trials_of(sweep: Sweep) -> list[TrialRecord]:
    return [read_trial(one) for one in SweepDir(sweep.run_directory).trials()]


@pytest.mark.slow
def test_a_run_that_diverged_is_repaired_once_although_the_orchestrator_is_killed(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, DESCENT.replace("SPIKE", "False"), file())
    first = sweep.start("run", "sweep.yaml", "--workers", "2")
    until((sweep.run_directory / "trials" / "0002" / "trial.json").exists)
    os.kill(int(holder_of(sweep.run_directory / "lease").split()[1]), signal.SIGKILL)
    first.communicate(timeout=PATIENCE_S)
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "2")
    assert code == 0, out + err

    trials = trials_of(sweep)
    assert [trial.state for trial in trials] == [State.COMPLETE, State.PRUNED, State.COMPLETE]
    repaired = trials[2]
    derived = repaired.facts.derived
    assert derived is not None
    assert (derived.parent, derived.by, derived.diagnosis) == (1, REPAIR, trials[1].newest.stop.decision.rule)  # type: ignore[union-attr]
    lr = repaired.facts.params["lr"]
    assert isinstance(lr, float)
    assert lr < 1.0
    assert repaired.value is not None
    assert repaired.value < 1e-3
    begin = 0 if derived.step == START else derived.step + 1
    assert repaired.progress.notes[0] == f"base {lr:.6g} from {begin} seed 0"
    why = sweep.call("why", str(sweep.run_directory), "1")[1]
    assert "Trial 0002 (COMPLETE) is a repair of trial 0001" in why


@pytest.mark.slow
def test_a_spike_is_rewound_with_another_seed(tmp_path: Path) -> None:
    keys = {
        "early_stop": None,
        "on_spike": "rewind",
        "parameters": {"lr": {"value": 0.05}},
        "checkpoint": {"every_steps": 5, "keep_healthy": 12},  # the trial trains on until its stop arrives
    }
    sweep = Sweep(tmp_path, DESCENT.replace("SPIKE", "True"), file(**keys))
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "1")
    assert code == 0, out + err
    first, second = trials_of(sweep)
    assert (first.state, second.state) == (State.PRUNED, State.COMPLETE)
    derived = second.facts.derived
    assert derived is not None
    assert 120 <= derived.step <= 150
    assert second.facts.seed != first.facts.seed
    assert second.progress.notes[0].startswith(f"base 0.05 from {derived.step + 1} seed ")
    assert "a spike at step 151" in sweep.call("why", str(sweep.run_directory), "1")[1]


@pytest.mark.slow
def test_why_a_trial_is_not_repaired_is_on_its_record_and_said_once(tmp_path: Path) -> None:
    script = DESCENT.replace("SPIKE", "False").replace('trial.params["lr"]', 'trial.params["speed"]')
    sweep = Sweep(tmp_path, script, file(parameters={"speed": {"values": [3.0]}, "clip": {"value": 0.5}}))
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "1")
    assert code == 0, out + err
    (trial,) = trials_of(sweep)
    event = trial.newest.not_repaired
    if event is None:  # clipping alone is tried, and fails too
        pytest.fail(out + err)
    assert f"Trial 0000 is not repaired: {event.reason}" in out + err
    assert f"It is not repaired: {event.reason}." in sweep.call("why", str(sweep.run_directory), "0")[1]
    again = sweep.call("run", "sweep.yaml", "--workers", "1")
    assert "not repaired" not in again[1] + again[2]


@pytest.mark.slow
def test_repairs_and_derived_trials_run_although_no_trial_of_the_budget_is_left(tmp_path: Path) -> None:
    keys = {"parameters": {"lr": {"values": [3.0, 0.05, 0.04]}}, "budget": {"trials": 1}}
    sweep = Sweep(tmp_path, DESCENT.replace("SPIKE", "False"), file(**keys))
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "1")
    assert code == 0, out + err
    states = [State.PRUNED, State.WAITING, State.WAITING, State.COMPLETE]
    assert [trial.state for trial in trials_of(sweep)] == states
    code, out, err = sweep.call("derive", str(sweep.run_directory), "0", "lr=0.06", "--at", "start")
    assert code == 0, out + err
    assert [trial.state for trial in trials_of(sweep)] == [*states, State.COMPLETE]


@pytest.mark.slow
def test_a_rewind_that_waits_keeps_its_checkpoints_and_is_not_audited(tmp_path: Path) -> None:
    keys = {
        "early_stop": {"rules": [{"spike": {"above": 6}}], "audit": 0.999, "keep_parked_gb": 0},
        "on_spike": "rewind",
        "parameters": {"lr": {"values": [0.05, 0.04]}},
        "checkpoint": {"every_steps": 5, "keep_healthy": 12},
    }
    sweep = Sweep(tmp_path, DESCENT.replace("SPIKE", "True"), file(**keys))
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "1")
    assert code == 0, out + err
    trials = trials_of(sweep)
    assert [trial.state for trial in trials] == [State.PRUNED] * 2 + [State.COMPLETE] * 2
    assert [one.facts.derived is not None and one.facts.derived.step >= 120 for one in trials[2:]] == [True, True]
    assert [list(one.directory.checkpoints.glob("*.pt")) for one in trials[:2]] == [[], []]  # not needed any more
