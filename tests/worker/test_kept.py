"""A library's own checkpoints get a second name below the trial's directory, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from sweeper.worker import kept


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    folder = tmp_path / "trials" / "0000"
    (folder / "trainer" / "checkpoint-5" / "deep").mkdir(parents=True)
    (folder / "trainer" / "checkpoint-5" / "model").write_text("weights")
    (folder / "trainer" / "checkpoint-5" / "deep" / "optimizer").write_text("moments")
    return folder


def test_a_folder_is_linked_and_survives_the_library(trial: Path) -> None:
    found = kept.keep(trial, trial / "trainer/checkpoint-5", step=4)
    assert found == trial / "kept" / "step-000000004"
    assert (found / "model").stat().st_ino == (trial / "trainer/checkpoint-5/model").stat().st_ino
    shutil.rmtree(trial / "trainer")
    assert (found / "deep/optimizer").read_text() == "moments"
    assert [path.name for path in (trial / "kept").iterdir()] == ["step-000000004"]


def test_a_file_keeps_its_ending(trial: Path) -> None:
    (trial / "a.b.ckpt").write_text("all")
    found = kept.keep(trial, trial / "a.b.ckpt", step=4)
    assert (found.name, found.read_text()) == ("step-000000004.ckpt", "all")
    (trial / "a.b.ckpt").unlink()
    (trial / "a.b.ckpt").write_text("new")
    assert kept.keep(trial, trial / "a.b.ckpt", step=4).read_text() == "new"  # of the attempt after


def test_a_disk_without_links_gets_a_copy(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    found = kept.keep(trial, trial / "trainer/checkpoint-5", step=4)
    assert (found / "deep/optimizer").read_text() == "moments"


def test_what_does_not_exist_or_cannot_be_written_is_an_error_and_leaves_nothing(
    trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="checkpoint-9"):
        kept.keep(trial, trial / "trainer/checkpoint-9", step=8)
    kept.keep(trial, trial / "trainer/checkpoint-5", step=4)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OSError, match="full"):
        kept.keep(trial, trial / "trainer/checkpoint-5", step=5)
    assert [path.name for path in (trial / "kept").iterdir()] == ["step-000000004"]


def test_only_other_steps_are_pruned(trial: Path) -> None:
    for step in (4, 9, 14):
        kept.keep(trial, trial / "trainer/checkpoint-5", step=step)
    (trial / "kept" / "mine").write_text("of the user")
    kept.prune(trial, {4, 14, 19})
    assert sorted(path.name for path in (trial / "kept").iterdir()) == ["mine", "step-000000004", "step-000000014"]


def test_a_link_in_place_of_the_folder_is_not_followed(trial: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "step-000000001").mkdir(parents=True)
    (trial / "kept").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="link"):
        kept.keep(trial, trial / "trainer/checkpoint-5", step=4)
    with pytest.raises(OSError, match="link"):
        kept.prune(trial, set())
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["step-000000001"]


def test_files_with_several_names_get_their_own_content(trial: Path) -> None:
    found = kept.keep(trial, trial / "trainer/checkpoint-5", step=4)
    kept.unshare(trial / "trainer/checkpoint-5")
    (trial / "trainer/checkpoint-5/deep/optimizer").write_text("other")
    assert (found / "deep/optimizer").read_text() == "moments"
    assert sorted(path.name for path in (trial / "trainer/checkpoint-5").iterdir()) == ["deep", "model"]
