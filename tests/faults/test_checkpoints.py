"""A checkpoint that was damaged is passed over for the one before it, and none of them runs code."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.errors import CheckpointError
from sweeper.record.events import Noted, Resumed
from sweeper.record.journal import read_journal
from sweeper.worker import checkpoint
from tests.faults.small import VALUES, Patient
from tests.test_end_to_end import LEARNER, grid, steps_seen, until

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
    with pytest.raises(CheckpointError, match=r"step-000000005.*: expected"):
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
        (note,) = [event.text for event in read_journal(trial._attempt.events) if isinstance(event, Noted)]
    assert note.startswith(f"{foreign}: expected a name with the checksum, as step-")
    assert note.endswith("not saved by sweeper, passed over")


def test_steps_of_ten_digits_are_newer_than_those_of_nine(tmp_path: Path) -> None:
    for step in (999_999_999, 1_000_000_000):
        checkpoint.save(tmp_path / "checkpoints", {"step": step}, step=step)
    newest, _ = checkpoint.checkpoints(tmp_path / "checkpoints")
    assert checkpoint.step_of(newest) == 1_000_000_000


class Exploit:
    """Unpickled, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._proof,)


def _as_pickle(proof: Path) -> bytes:
    return pickle.dumps(Exploit(proof), protocol=2)  # torch's; it warns of others


def _as_archive(proof: Path) -> bytes:
    """A pickle within an archive as torch.save makes it."""
    made, forged = io.BytesIO(), io.BytesIO()
    torch.save({"step": 5}, made)
    with zipfile.ZipFile(made) as archive, zipfile.ZipFile(forged, "w") as target:
        for name in archive.namelist():
            target.writestr(name, _as_pickle(proof) if name.endswith("data.pkl") else archive.read(name))
    return forged.getvalue()


def _named(folder: Path, data: bytes, step: int) -> Path:
    """A file with the name and the checksum of a checkpoint."""
    path = folder / f"step-{step:09d}.{hashlib.sha256(data).hexdigest()[:16]}.pt"
    folder.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("form", [_as_pickle, _as_archive])
def test_what_would_run_code_is_refused_and_does_not(tmp_path: Path, form: Callable[[Path], bytes]) -> None:
    proof = tmp_path / "proof"
    data = form(proof)
    path = _named(tmp_path / "checkpoints", data, 5)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load(path)
    assert not proof.exists()
    text = str(refused.value)
    assert text.startswith(f"{path}: expected tensors, numbers, strings, lists and dicts, got what it will not load: ")
    assert "(code; none of it was run)" in text
    assert "\n" not in text
    assert "weights_only=False" not in text
    if form is _as_pickle:  # the exploit is one: loaded without care it does run
        pickle.loads(data)  # noqa: S301
        assert proof.exists()


def test_plain_values_that_are_no_state_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    with pytest.raises(CheckpointError, match="by name, got list"):
        checkpoint.load(_named(tmp_path / "checkpoints", buffer.getvalue(), 5))


SAVING = LEARNER.replace("if trial.should_save:", "if step in (5, 10) or trial.should_stop:")


@pytest.mark.parametrize("damage", [_flip, "exploit", "all", "no directory"])
def test_a_sweep_goes_on_from_the_checkpoint_before_a_damaged_one(
    tmp_path: Path, damage: Callable[[Path], None] | str
) -> None:
    sweep = Patient(tmp_path, SAVING, grid("damaged", pace=0.05))
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: steps_seen(sweep, 12))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=200)
    trial = sweep.run_dir.trial(0)
    newest, before = checkpoint.checkpoints(trial.checkpoints)
    proof, left = tmp_path / "proof", checkpoint.step_of(before)
    match damage:
        case "exploit":
            _named(trial.checkpoints, _as_archive(proof), 999)
            left = checkpoint.step_of(newest)
        case "all":
            _truncate(newest)
            _empty(before)
        case "no directory":
            shutil.rmtree(trial.checkpoints)
        case _:
            _flip(newest)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert sweep.values() == VALUES
    assert not proof.exists()
    events = read_journal(trial.attempt(2).events)
    resumed = [event.step for event in events if isinstance(event, Resumed)]
    assert resumed == ([] if damage in ("all", "no directory") else [left])
    notes = [event.text for event in events if isinstance(event, Noted)]
    assert len(notes) == {"all": 2, "no directory": 0}.get(str(damage), 1)
    if notes:
        why = " ".join(sweep.call("why", "runs/damaged", "0")[1].split())
        assert "note: " in why
        assert "expected" in why
