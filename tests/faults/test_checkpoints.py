"""A checkpoint that was damaged is passed over for the one before it, and none of them runs code."""

from __future__ import annotations

import io
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.errors import CheckpointError
from sweeper.record.events import Noted, Resumed
from sweeper.record.storage.journal import read_journal
from sweeper.worker import checkpoint
from sweeper.worker.trial import recorder_of
from tests.end_to_end.test_sweeps import LEARNER, grid, steps_seen, until
from tests.faults.records import Exploit, exploit, named_as_checkpoint
from tests.faults.small import VALUES, Patient

pytestmark = pytest.mark.timeout(900)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [_flip, _truncate, _empty, _replace_by_a_directory]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_words(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = checkpoint.save(tmp_path / "checkpoints", {"step": 5, "weights": torch.arange(100)}, step=5)
    damage(path)
    with pytest.raises(CheckpointError, match=r"step-000000005.*: the checkpoint (was truncated|cannot be read)"):
        checkpoint.load(path)


def test_what_has_no_checkpoints_name_is_none(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "checkpoints", {"step": 5}, step=5)
    for name in (
        "step-.pt",
        "step-abc.pt",
        "step-000000009.pt",
        ".saving.17",
        "step-000000009.0123456789abcdef.pt.tmp",
    ):
        (tmp_path / "checkpoints" / name).write_bytes(b"?")
    assert checkpoint.checkpoints(tmp_path / "checkpoints") == [path]
    assert checkpoint.checkpoints(tmp_path / "none") == []


def test_what_sweeper_did_not_save_is_passed_over_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sweeper.trial() as trial:
        trial.save({"step": 5}, step=5)
        foreign = trial.dir / "checkpoints" / "step-000000009.pt"
        torch.save({"step": 9}, foreign)
        assert trial.restore() == {"step": 5}
        (note,) = [event.text for event in read_journal(recorder_of(trial).attempt.events) if isinstance(event, Noted)]
    assert note.startswith(
        f"ignored {foreign}, which sweeper did not save: expected a name with a checksum, such as step-"
    )


def test_steps_of_ten_digits_are_newer_than_those_of_nine(tmp_path: Path) -> None:
    for step in (999_999_999, 1_000_000_000):
        checkpoint.save(tmp_path / "checkpoints", {"step": step}, step=step)
    newest, _ = checkpoint.checkpoints(tmp_path / "checkpoints")
    assert checkpoint.step_of(newest) == 1_000_000_000


def _as_pickle(proof: Path) -> bytes:
    return pickle.dumps(Exploit(proof), protocol=2)  # torch's; it warns of others


@pytest.mark.parametrize("form", [_as_pickle, exploit])
def test_what_would_run_code_is_refused_and_does_not(tmp_path: Path, form: Callable[[Path], bytes]) -> None:
    proof = tmp_path / "proof"
    data = form(proof)
    path = named_as_checkpoint(tmp_path / "checkpoints", data, 5)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load(path)
    assert not proof.exists()
    text = str(refused.value)
    assert text.startswith(f"{path}: expected tensors, numbers, strings, lists and dicts, but torch cannot load it: ")
    assert "(this is code; it was not run)" in text
    assert "\n" not in text
    assert "weights_only=False" not in text
    if form is _as_pickle:  # the exploit is one: loaded without care it does run
        pickle.loads(data)  # noqa: S301
        assert proof.exists()


def test_plain_values_that_are_no_state_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    with pytest.raises(CheckpointError, match="by name, got list"):
        checkpoint.load(named_as_checkpoint(tmp_path / "checkpoints", buffer.getvalue(), 5))


SAVING = LEARNER.replace("if trial.should_save:", "if step in (5, 10) or trial.should_stop:")


@pytest.mark.parametrize("damage", ["all", "no directory"])
def test_a_trial_without_a_whole_checkpoint_begins_anew(tmp_path: Path, damage: str) -> None:
    sweep = Patient(tmp_path, SAVING, grid("damaged", pace=0.05))
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: steps_seen(sweep, 12))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=200)
    trial = sweep.run_dir.trial(0)
    newest, before = checkpoint.checkpoints(trial.checkpoints)
    if damage == "all":
        _truncate(newest)
        _empty(before)
    else:
        shutil.rmtree(trial.checkpoints)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert sweep.values() == VALUES
    events = read_journal(trial.attempt(2).events)
    assert not any(isinstance(event, Resumed) for event in events)
    assert len([event for event in events if isinstance(event, Noted)]) == (2 if damage == "all" else 0)
    if damage == "all":
        why = " ".join(sweep.call("why", "runs/damaged", "0")[1].split())
        assert "note: " in why
        assert "truncated or altered" in why
