"""Transfer of a trial's directory: the copy is always a prefix of the original, and equal to it in the end."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from sweeper.errors import Unwritable
from sweeper.executors.ray import mirror
from sweeper.executors.ray.host import HostSettings, RayHost
from sweeper.executors.ray.mirror import Chunk, FileUpdates, KnownFiles, Replica, forget, pack, unpack, updates_of
from sweeper.record.storage.layout import TrialDir

Pair = tuple[TrialDir, TrialDir]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    there, here = (TrialDir(tmp_path / name / "0000") for name in ("there", "here"))
    for trial in (there, here):
        trial.attempt(1).path.mkdir(parents=True)
    there.facts.write_text("facts of there")
    there.attempt(1).lease.write_text("pid 1\n")
    return there, here


def contents(trial: TrialDir) -> dict[str, bytes]:
    return {
        str(path.relative_to(trial.path)): path.read_bytes()
        for path in sorted(trial.path.rglob("*"))
        if path.is_file() and path not in (trial.facts, trial.control, trial.attempt(1).lease)
    }


def bring(there: TrialDir, replica: Replica) -> FileUpdates:
    updates = updates_of(there, there.attempt(1), replica.known)
    replica.apply(updates)
    return updates


@pytest.mark.parametrize("seed", range(8))
def test_the_record_is_exact_if_either_side_dies_between_replies(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(mirror, "MAX_REPLY_BYTES", 64)
    chance = random.Random(seed)
    there, here = pair
    replica = Replica(here, 1)
    for step in range(60):
        with (there.attempt(1).path / chance.choice(["events.jsonl", "layers.f32", "output.log"])).open("ab") as file:
            file.write(chance.randbytes(chance.randrange(200)))
        if chance.random() < 0.2:
            there.checkpoints.mkdir(exist_ok=True)
            (there.checkpoints / f"step-{step:09d}.{'a' * 16}.pt").write_bytes(chance.randbytes(300))
            for old in sorted(there.checkpoints.iterdir())[:-2]:
                old.unlink()
        if chance.random() < 0.3:
            (there.path / "best").write_bytes(chance.randbytes(chance.randrange(200)))
        for _ in range(chance.randrange(4)):
            bring(there, replica)
            for name, data in contents(here).items():
                assert "/." in name or not name.startswith("attempts/") or contents(there)[name].startswith(data)
        if chance.random() < 0.2:
            replica = Replica(here, 1)
    there.attempt(1).exit.write_text("the end")
    while (updates := bring(there, replica)).chunks or updates.checkpoints is None:
        ended = here.attempt(1).exit.exists()
        assert not ended or contents(here) == contents(there)
    assert contents(here) == contents(there)


def test_the_exit_is_transferred_last(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MAX_REPLY_BYTES", 8)
    there, here = pair
    there.attempt(1).events.write_bytes(b"0123456789")
    there.attempt(1).exit.write_text("{}")
    replica = Replica(here, 1)
    bring(there, replica)
    assert not here.attempt(1).exit.exists()
    bring(there, replica)
    assert here.attempt(1).events.read_bytes() == b"0123456789"
    assert here.attempt(1).exit.exists()
    assert not here.facts.exists()  # files that the orchestrator writes are not sent back


def test_a_full_disk_leaves_a_prefix_and_the_rest_arrives_later(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = pair
    there.attempt(1).events.write_bytes(b"0123456789")
    replica = Replica(here, 1)
    pwrite = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if offset:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(fd, data[:4], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Unwritable, match="events"):
        bring(there, replica)
    monkeypatch.undo()
    assert here.attempt(1).events.read_bytes() == b"0123"
    bring(there, replica)
    assert here.attempt(1).events.read_bytes() == b"0123456789"


def test_files_of_a_trial_are_sent_to_the_node_and_not_back(pair: Pair) -> None:
    there, here = pair
    here.checkpoints.mkdir()
    (here.checkpoints / "step-000000001.aaaaaaaaaaaaaaaa.pt").write_bytes(b"state")
    here.facts.write_text("facts")
    there.checkpoints.mkdir()
    (there.checkpoints / "step-000000000.aaaaaaaaaaaaaaaa.pt").write_bytes(b"of an earlier attempt")
    unpack(pack(here), there)
    assert there.facts.read_text() == "facts"
    assert contents(there) == contents(here)
    assert not updates_of(there, there.attempt(1), Replica(here, 1).known).chunks
    assert updates_of(there, there.attempt(1), KnownFiles()).chunks


def test_no_file_outside_the_trial_is_written(pair: Pair) -> None:
    _, here = pair
    chunk = mirror.Chunk(path="../../elsewhere", offset=0, data=b"x")
    with pytest.raises(Unwritable, match="elsewhere"):
        Replica(here, 1).apply(FileUpdates(chunks=[chunk]))
    assert not (here.path.parents[1] / "elsewhere").exists()


@pytest.mark.parametrize("name", ["data/x", "attempts/1/x", "checkpoints/step-000000001.pt", "x"])
def test_nothing_is_written_through_a_link(pair: Pair, tmp_path: Path, name: str) -> None:
    """An earlier attempt of the trial ran here, and its script made a link."""
    _, here = pair
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("precious")
    folder = (here.path / name).parent
    if folder == here.path:
        (here.path / name).symlink_to(outside / "x")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.symlink_to(outside)
    replica = Replica(here, 1)
    version = None if name.startswith("attempts") else (1, 1)
    updates = FileUpdates(chunks=[Chunk(path=name, offset=0, data=b"x", version=version)], checkpoints=[])
    if folder == here.path:
        replica.apply(updates)  # the link is replaced, as a whole file is
        assert not (here.path / name).is_symlink()
    else:
        with pytest.raises(Unwritable, match="is a link, which is not followed inside a run"):
            replica.apply(updates)
    with contextlib.suppress(OSError):
        unpack({name: (b"x", 1)}, here)
    forget(here)
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("x", "precious")]


def test_a_folder_in_the_temporary_directory_has_to_be_this_users_own(tmp_path: Path) -> None:
    """Other users can make files there, and so a link to where they want the attempts to be written."""
    (tmp_path / "theirs").mkdir()
    private = tmp_path / "sweeper-0-ray"
    host = object.__new__(RayHost)
    host._settings = HostSettings(
        driver="d",
        folder=str(private / "sweep"),
        python="python",
        cwd="",
        environment={},
        preload=False,
        private=str(private),
    )
    trial = TrialDir(private / "sweep" / "trials" / "0000")
    private.symlink_to(tmp_path / "theirs")
    with pytest.raises(PermissionError, match="not this user's own directory"):
        host._make_folder(trial)
    private.unlink()
    private.mkdir()
    private.chmod(0o777)
    with pytest.raises(PermissionError, match="not this user's own directory"):
        host._make_folder(trial)
    private.rmdir()
    host._make_folder(trial)
    assert private.stat().st_mode & 0o777 == 0o700
    assert trial.path.is_dir()
    assert list((tmp_path / "theirs").iterdir()) == []
