"""Populations in real processes: members continue from checkpoints, and a killed sweep continues as if undisturbed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sweeper.orchestrator.search.proposals import BEYOND_TURN, WITHOUT_CHECKPOINT
from sweeper.record.events import Asked
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import holder_of
from sweeper.record.trial import State
from tests.end_to_end.test_sweeps import PATIENCE_S, Sweep, until

DESCENT = """
import sweeper, torch
with sweeper.trial() as trial:
    x = torch.nn.Parameter(torch.tensor([4.0]))
    optimizer = torch.optim.SGD([x], lr=trial.params["lr"])
    state = trial.restore()
    if state is not None:
        x.data = state["x"]
        optimizer.load_state_dict(state["optimizer"])
    trial.note(f"lr {optimizer.param_groups[0]['lr']:.6g} from {trial.next_step}")
    for step in range(trial.next_step, 60):
        loss = (x ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report({"loss/train": loss.item()}, step=step)
        if trial.should_save:
            trial.save({"x": x.data, "optimizer": optimizer.state_dict()}, step=step)
        if trial.should_stop:
            break
"""

FILE: dict[str, Any] = {
    "name": "population",
    "method": "pbt",
    "population_size": 3,
    "population": {"every_steps": 20, "turns": 3},
    "metric": {"name": "loss/train", "goal": "minimize", "at": "last"},
    "parameters": {"lr": {"min": 1e-4, "max": 1e-1, "distribution": "log_uniform_values"}},
}


def asked(sweep: Sweep) -> list[tuple[object, object, int]]:
    events = read_journal(SweepDir(sweep.run_directory).search)
    return [
        (event.params, event.derived and (event.derived.parent, event.derived.step), event.until)
        for event in events
        if isinstance(event, Asked)
    ]


@pytest.mark.slow
def test_members_continue_in_turns_and_a_killed_sweep_proposes_the_same(tmp_path: Path) -> None:
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    whole, killed = (Sweep(folder, DESCENT, FILE) for folder in folders)
    run = ("run", "sweep.yaml", "--workers", "2")
    code, out, err = whole.call(*run)
    assert code == 0, out + err
    assert BEYOND_TURN not in " ".join((out + err).split())
    trials = [read_trial(one) for one in SweepDir(whole.run_directory).trials()]
    assert [trial.state for trial in trials] == [State.COMPLETE] * 9
    assert [trial.step for trial in trials] == [19] * 3 + [39] * 3 + [59] * 3
    for trial in trials[3:]:
        derived = trial.facts.derived
        assert derived is not None
        assert trial.progress.notes[0] == f"lr {trial.facts.params['lr']:.6g} from {derived.step + 1}"

    first = killed.start(*run)
    until((killed.run_directory / "trials" / "0004" / "attempts").exists)
    os.kill(int(holder_of(killed.run_directory / "lease").split()[1]), signal.SIGKILL)
    first.communicate(timeout=PATIENCE_S)
    assert len(asked(killed)) < len(asked(whole)), "or it was not killed in the middle"
    code, again, err = killed.call(*run)
    assert code == 0, again + err
    assert asked(killed) == asked(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (DESCENT.replace("trial.should_stop", "False"), BEYOND_TURN),
        (DESCENT.replace("trial.should_save", "False"), WITHOUT_CHECKPOINT),
    ],
    ids=["trains on", "saves nothing"],
)
def test_a_script_that_does_not_take_turns_is_named(tmp_path: Path, script: str, said: str) -> None:
    file = {**FILE, "population_size": 2, "population": {"every_steps": 20, "turns": 2}}
    code, out, err = Sweep(tmp_path, script, file).call("run", "sweep.yaml", "--workers", "2")
    assert code == 0, out + err
    for text in (BEYOND_TURN, WITHOUT_CHECKPOINT):
        assert (text in " ".join((out + err).split())) == (text == said)
