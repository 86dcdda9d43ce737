"""Which checkpoints of a trial another one can take over, and that nothing outside of the run comes along."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.errors import RecordError
from sweeper.record.checkpoints import newest_before, saved_checkpoints, take_over
from sweeper.record.events import Checkpointed
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir


def name(step: int) -> str:
    return f"step-{step:09d}.3fa94c01d2e7b655.pt"


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    run = SweepDir(tmp_path / "runs" / "own")
    for number in (0, 1):
        run.trial(number).attempt(1).path.mkdir(parents=True)
    return run


def save(trial: TrialDir, step: int, points_to: str = "") -> str:
    trial.checkpoints.mkdir(exist_ok=True)
    (trial.checkpoints / name(step)).write_text(f"state {step}")
    with JournalWriter(trial.attempt(1).events) as events:
        events.append(Checkpointed(step=step, file=name(step), points_to=points_to))
    return name(step)


def folder(trial: TrialDir, path: str) -> Path:
    made = trial.path / path
    (made / "deep").mkdir(parents=True)
    (made / "model.bin").write_text("weights")
    (made / "deep" / "optimizer.pt").write_text("moments")
    return made


def test_the_newest_is_first_and_other_files_are_left_out(run: SweepDir) -> None:
    trial = run.trial(0)
    assert saved_checkpoints(trial) == []
    for step in (10, 999_999_999, 1_000_000_000):
        save(trial, step)
    (trial.checkpoints / "step-000000011.pt").write_text("mine")
    assert [one.step for one in saved_checkpoints(trial)] == [1_000_000_000, 999_999_999, 10]


def test_the_newest_up_to_a_step(run: SweepDir) -> None:
    for step in (10, 20, 30):
        save(run.trial(0), step)
    saved = saved_checkpoints(run.trial(0))
    steps = [one.step if (one := newest_before(saved, step)) else None for step in (9, 10, 19, 25, 99, None)]
    assert steps == [None, 10, 10, 20, 30, 30]


def test_a_checkpoint_is_linked_and_survives_its_parent(run: SweepDir) -> None:
    parent, child = run.trial(0), run.trial(1)
    file = save(parent, 10)
    assert take_over(parent, child, file)
    assert (parent.checkpoints / file).stat().st_ino == (child.checkpoints / file).stat().st_ino
    (parent.checkpoints / file).unlink()
    assert (child.checkpoints / file).read_text() == "state 10"
    assert take_over(child, parent, file)
    assert take_over(child, parent, file)  # what is there is left as it is


def test_a_librarys_own_checkpoint_comes_along(run: SweepDir) -> None:
    parent, child = run.trial(0), run.trial(1)
    folder(parent, "kept/step-000000010")
    file = save(parent, 10, "kept/step-000000010")
    assert take_over(parent, child, file)
    assert (child.path / "kept/step-000000010/deep/optimizer.pt").read_text() == "moments"


def test_disks_without_links_get_copies(run: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    parent, child = run.trial(0), run.trial(1)
    folder(parent, "trainer/checkpoint-11")
    file = save(parent, 10, "trainer/checkpoint-11")
    assert take_over(parent, child, file)
    assert (child.checkpoints / file).read_text() == "state 10"
    assert (child.path / "trainer/checkpoint-11/deep/optimizer.pt").read_text() == "moments"
    assert sorted(path.name for path in child.checkpoints.iterdir()) == [file]


def test_what_was_deleted_is_not_offered(run: SweepDir) -> None:
    parent = run.trial(0)
    save(parent, 10, "trainer/checkpoint-11")
    save(parent, 20)
    outside = run.path.parent / "elsewhere"
    outside.mkdir()
    save(parent, 30, os.path.relpath(outside, parent.path))
    assert [one.step for one in saved_checkpoints(parent)] == [30, 20]
    outside.rmdir()
    assert [one.step for one in saved_checkpoints(parent)] == [20]
    assert not take_over(parent, run.trial(1), name(10))
    assert not run.trial(1).checkpoints.exists()


@pytest.mark.parametrize(
    "points_to",
    [
        *("../../../../outside/precious", "/etc/passwd", "trainer/../../../../../outside"),
        *("/" + "x" * 300, "\0", "x\0y", "../" * 3000),
    ],
)
def test_what_points_out_of_the_trial_is_not_taken_along(run: SweepDir, points_to: str) -> None:
    parent, child = run.trial(0), run.trial(1)
    file = save(parent, 10, points_to)
    take_over(parent, child, file)
    assert {path.name for path in child.path.iterdir()} <= {"attempts", "checkpoints"}
    assert "precious" not in "".join(path.read_text() for path in child.path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "points_to", [".", "./", "trial.json", "control.jsonl", "attempts", "attempts/1", "checkpoints"]
)
def test_a_part_of_the_record_is_no_checkpoint(run: SweepDir, points_to: str) -> None:
    """Otherwise the two trials would share a journal."""
    parent, child = run.trial(0), run.trial(1)
    parent.control.write_text("{}")
    file = save(parent, 10, points_to)
    assert saved_checkpoints(parent) == []
    assert not take_over(parent, child, file)
    assert not child.control.exists()


def _link_checkpoint(parent: TrialDir, outside: Path) -> None:
    (parent.checkpoints / name(10)).unlink()
    (parent.checkpoints / name(10)).symlink_to(outside / "precious")


def _link_folder(parent: TrialDir, outside: Path) -> None:
    (outside / name(10)).write_text("precious")
    (parent.checkpoints / name(10)).unlink()
    parent.checkpoints.rmdir()
    parent.checkpoints.symlink_to(outside)


def _link_target(parent: TrialDir, outside: Path) -> None:
    (parent.path / "kept").rename(parent.path / "was")
    (parent.path / "kept").symlink_to(outside)


def _link_in_target(parent: TrialDir, outside: Path) -> None:
    (parent.path / "kept/ten/model.bin").unlink()
    (parent.path / "kept/ten/model.bin").symlink_to(outside / "precious")


def _pipe(parent: TrialDir, outside: Path) -> None:
    (parent.checkpoints / name(10)).unlink()
    os.mkfifo(parent.checkpoints / name(10))


def _pipe_in_target(parent: TrialDir, outside: Path) -> None:
    os.mkfifo(parent.path / "kept/ten/zzz")


def _nested(parent: TrialDir, outside: Path) -> None:
    (parent.path / "kept/ten" / "/".join("d" * 80)).mkdir(parents=True)


PLANTS = [_link_checkpoint, _link_folder, _link_target, _link_in_target, _pipe, _pipe_in_target, _nested]


@pytest.mark.parametrize("plant", PLANTS)
def test_links_and_pipes_in_place_of_a_checkpoint_are_refused(
    run: SweepDir, plant: Callable[[TrialDir, Path], None]
) -> None:
    parent, child = run.trial(0), run.trial(1)
    folder(parent, "kept/ten")
    file = save(parent, 10, "kept/ten")
    outside = run.path.parents[1] / "outside"
    plant(parent, outside)
    if plant is _link_folder:
        with pytest.raises(RecordError, match="expected a folder of checkpoints"):
            saved_checkpoints(parent)
    assert not take_over(parent, child, file)
    assert not (child.checkpoints / file).exists()
    assert (outside / "precious").read_text() == "precious"
    assert (outside / "precious").stat().st_nlink == 1
    assert not any(path.is_symlink() for path in child.path.rglob("*"))
