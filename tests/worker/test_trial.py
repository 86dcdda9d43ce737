"""The trial API: what a script says stands in the record, and what it saved it gets back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.record.events import Checkpointed, Finished, Metrics, Noted, Resumed
from sweeper.record.reader import read_trial
from sweeper.record.storage.claim import catches
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json, write_json
from sweeper.record.trial import State
from sweeper.worker.checkpoint import checkpoints, save
from sweeper.worker.trial import recorder_of


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialDir:
    """A trial directory as an orchestrator makes it, and the environment as its shim does."""
    trial = TrialDir(tmp_path / "an odd näme" / "0000")
    for number in (1, 2):
        trial.attempt(number).path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": 7, "params": {"lr": 0.5}, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "acc", "maximize": True, "checkpoint_every_s": 3600.0})
    monkeypatch.setenv("SWEEPER_TRIAL_DIR", str(trial.path))
    monkeypatch.setenv("SWEEPER_ATTEMPT", "1")
    return trial


def test_parameters_of_the_sweep_override_defaults(directory: TrialDir) -> None:
    with sweeper.trial(defaults={"lr": 0.1, "width": 3}) as trial:
        assert trial.params == {"lr": 0.5, "width": 3}
        assert trial.seed == 7


def test_macros_in_the_values_of_parameters_are_filled(directory: TrialDir) -> None:
    facts = read_json(directory.facts) | {"params": {"out": "${trial:dir}/out", "names": ["${trial:name}", 1]}}
    write_json(directory.facts, facts)
    with sweeper.trial() as trial:
        assert trial.params == {"out": f"{directory.path}/out", "names": ["0000", 1]}
    assert read_trial(directory).facts.params["out"] == "${trial:dir}/out", "the record keeps the macro"


def test_reports_take_floats_and_tensors(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        trial.report({"a": 1, "b": torch.tensor(2.5, requires_grad=True), "c": float("nan")}, step=3)
    (metrics,) = [e for e in read_journal(directory.attempt(1).events) if isinstance(e, Metrics)]
    assert (metrics.step, metrics.values["a"], metrics.values["b"]) == (3, 1.0, 2.5)
    assert metrics.values["c"] != metrics.values["c"]


def test_a_saved_state_is_restored(directory: TrialDir, monkeypatch: pytest.MonkeyPatch) -> None:
    with sweeper.trial() as trial:
        assert trial.restore() is None
        trial.save({"weights": torch.arange(3), "epoch": 2, "order": [1, 2]}, step=11)
    monkeypatch.setenv("SWEEPER_ATTEMPT", "2")
    with sweeper.trial() as trial:
        state = trial.restore()
        assert state is not None
        assert state["weights"].tolist() == [0, 1, 2]
        assert (state["epoch"], state["order"]) == (2, [1, 2])
        assert trial.next_step == 12
    assert Resumed in {type(event) for event in read_journal(directory.attempt(2).events)}


def test_the_newest_two_checkpoints_are_kept(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        for step in (5, 10, 15):
            trial.save({"step": step}, step=step)
    assert [path.name.split(".")[0] for path in checkpoints(directory.checkpoints)] == [
        "step-000000015",
        "step-000000010",
    ]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_checkpoint_is_skipped_with_a_note(
    directory: TrialDir, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    with sweeper.trial() as trial:
        trial.save({"step": 5, "weights": torch.ones(100)}, step=5)
        trial.save({"step": 9, "weights": torch.ones(100)}, step=9)
    newest = checkpoints(directory.checkpoints)[0]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes({"flip": bytes(data), "truncate": bytes(data[:-20]), "empty": b""}[damage])
    monkeypatch.setenv("SWEEPER_ATTEMPT", "2")
    with sweeper.trial() as trial:
        state = trial.restore()
    assert state is not None
    assert state["step"] == 5
    notes = [event.text for event in read_journal(directory.attempt(2).events) if isinstance(event, Noted)]
    assert "truncated or altered" in notes[0]


def test_a_save_is_announced_only_when_it_is_on_disk(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        trial.save({"step": 5}, step=5)
    (event,) = [e for e in read_journal(directory.attempt(1).events) if isinstance(e, Checkpointed)]
    assert (directory.checkpoints / event.file).exists()


def outcome(directory: TrialDir) -> Finished:
    (event,) = [e for e in read_journal(directory.attempt(1).events) if isinstance(e, Finished)]
    return event


def test_sigterm_asks_the_loop_to_stop(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        assert not trial.should_stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert trial.should_stop
        assert trial.should_save
    assert outcome(directory).outcome == "stopped"


def test_a_stop_after_the_last_step_is_a_completed_run(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        trial.plan(total_steps=3)
        trial.report({"a": 1.0}, step=2)
        recorder_of(trial).request_stop()
        assert trial.should_stop
    assert outcome(directory).outcome == "completed"


def test_a_stop_that_the_script_never_looked_at_did_not_stop_it(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        recorder_of(trial).request_stop()
    assert outcome(directory).outcome == "completed"


def test_an_exception_is_on_the_record_and_goes_on_its_way(directory: TrialDir) -> None:
    with pytest.raises(ValueError, match="too hot"), sweeper.trial():
        raise ValueError("too hot")
    assert outcome(directory) == Finished(time=outcome(directory).time, outcome="failed", error="ValueError: too hot")


def test_the_handler_of_the_caller_is_put_back(directory: TrialDir) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with sweeper.trial():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_trial_listens_for_being_asked_for_its_stacks_unless_the_script_does(directory: TrialDir) -> None:
    assert not catches(os.getpid(), signal.SIGUSR1)
    with sweeper.trial():
        assert catches(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)  # by default it would end this process
    assert not catches(os.getpid(), signal.SIGUSR1)
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with sweeper.trial():
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1] * 2


@pytest.mark.parametrize(
    ("error", "cause"),
    [(torch.cuda.OutOfMemoryError("no room"), "cuda-oom"), (MemoryError("no room"), ""), (RuntimeError("oom"), "")],
)
def test_out_of_device_memory_is_distinguished_from_other_errors(
    directory: TrialDir, error: Exception, cause: str
) -> None:
    with pytest.raises(type(error)), sweeper.trial():
        raise error
    assert (outcome(directory).outcome, outcome(directory).cause) == ("failed", cause)


def test_the_peak_of_device_memory_is_on_the_record(directory: TrialDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is faked: there is none here."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    with sweeper.trial():
        pass
    assert outcome(directory).peak_device_mb == 3.0


def test_a_script_without_a_sweep_gets_a_run_with_the_same_record(tmp_path: Path) -> None:
    script = tmp_path / "my script.py"
    script.write_text(
        "import sweeper\nwith sweeper.trial(defaults={'lr': 1e-3}) as trial:\n    trial.report({'loss': 1.0}, step=0)\n"
    )
    root = Path(sweeper.__file__).parents[1]
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(root)})
    (run,) = (tmp_path / "runs").iterdir()
    trial = read_trial(SweepDir(run).trial(0))
    assert trial.state is State.COMPLETE
    assert trial.progress.metrics["loss"].last == 1.0
    assert trial.facts.params == {"lr": 1e-3}


def test_only_the_beginning_of_a_very_long_note_is_recorded(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        trial.note("n" * 1_000_000)
    (note,) = [event.text for event in read_journal(directory.attempt(1).events) if isinstance(event, Noted)]
    assert note == f"{'n' * 10_000}… (only the first 10,000 of 1,000,000 characters are recorded)"


def test_a_checkpoint_is_due_after_so_many_steps(directory: TrialDir) -> None:
    write_json(directory.facts, {**read_json(directory.facts), "checkpoint_every_steps": 4})
    saved = []
    with sweeper.trial() as trial:
        for step in range(10):
            trial.report({"loss": 1.0}, step=step)
            if trial.should_save:
                saved.append(step)
                trial.save({"step": step}, step=step)
    assert saved == [3, 7]


def test_steps_count_on_from_the_checkpoint(directory: TrialDir, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(directory.facts, {**read_json(directory.facts), "checkpoint_every_steps": 4})
    with sweeper.trial() as trial:
        trial.save({"step": 9}, step=9)
    monkeypatch.setenv("SWEEPER_ATTEMPT", "2")
    with sweeper.trial() as trial:
        assert trial.restore() == {"step": 9}
        due = []
        for step in range(10, 14):
            trial.report({"loss": 1.0}, step=step)
            due.append(trial.should_save)
    assert due == [False, False, False, True]


@pytest.fixture
def derived(directory: TrialDir) -> TrialDir:
    """The trial, derived from another one after step 5; the state has an optimizer."""
    directory.checkpoints.mkdir()
    group = {"lr": 0.4, "weight_decay": 0.1, "params": [0]}
    state = {"optimizer": {"param_groups": [group], "state": {0: {"step": torch.tensor(6.0)}}}}
    file = save(directory.checkpoints, state, step=5).name
    lineage = {"parent": 3, "step": 5, "checkpoint": file, "lr_factor": 0.5, "fresh_optimizer": True}
    write_json(directory.facts, {**read_json(directory.facts), "derived": {**lineage, "changes": {"wd": 0.3}}})
    return directory


def test_what_a_derived_trial_restores_is_changed_once(derived: TrialDir, monkeypatch: pytest.MonkeyPatch) -> None:
    with sweeper.trial() as trial:
        state = trial.restore()
        assert state == {"optimizer": {"param_groups": [{"lr": 0.2, "weight_decay": 0.3, "params": [0]}], "state": {}}}
        assert trial.next_step == 6
        trial.save(state, step=6)
    monkeypatch.setenv("SWEEPER_ATTEMPT", "2")
    with sweeper.trial() as trial:
        assert trial.restore() == state  # its own checkpoint has the changes
    (resumed,) = [event for event in read_journal(derived.attempt(1).events) if isinstance(event, Resumed)]
    assert resumed.step == 5


def test_the_checkpoint_from_which_a_trial_began_is_kept(derived: TrialDir) -> None:
    (origin,) = checkpoints(derived.checkpoints)
    with sweeper.trial() as trial:
        for step in range(6, 12):
            trial.save({"step": step}, step=step)
    assert [int(path.name[5:14]) for path in checkpoints(derived.checkpoints)] == [11, 10, 5]
    assert origin.exists()


def test_a_state_without_an_optimizer_is_noted(derived: TrialDir) -> None:
    (old,) = checkpoints(derived.checkpoints)
    old.unlink()
    file = save(derived.checkpoints, {"weights": torch.ones(2)}, step=5).name
    lineage = {"parent": 3, "step": 5, "checkpoint": file, "lr_factor": 0.5}
    write_json(derived.facts, {**read_json(derived.facts), "derived": lineage})
    with sweeper.trial() as trial:
        assert list(trial.restore() or {}) == ["weights"]
    (note,) = [event.text for event in read_journal(derived.attempt(1).events) if isinstance(event, Noted)]
    assert "has no learning rates or moments of an optimizer" in note
