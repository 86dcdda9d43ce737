"""Temporary files of processes that were killed are removed, and no other file is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.record.storage.leftovers import remove_leftovers

KILLED = """
import os, sys
from pathlib import Path
{prepare}
sys.addaudithook(lambda event, arguments: os.kill(os.getpid(), 9) if event == "os.rename" else None)
{write}
"""
WRITES = {
    "JSON": (
        "from sweeper.record.storage.layout import write_json",
        "write_json(Path('checkpoints/x.json'), {'x': 1})",
    ),
    "a checkpoint": ("from sweeper.worker.checkpoint import save", "save(Path('checkpoints'), {'x': 1}, step=1)"),
}


@pytest.mark.parametrize("what", WRITES)
def test_what_a_killed_process_wrote_in_part_is_removed(tmp_path: Path, what: str) -> None:
    prepare, write = WRITES[what]
    if what == "a checkpoint":
        pytest.importorskip("torch")
    (tmp_path / "checkpoints").mkdir()
    subprocess.run([sys.executable, "-c", KILLED.format(prepare=prepare, write=write)], cwd=tmp_path, check=False)
    folder = tmp_path / "checkpoints"
    assert len(list(folder.iterdir())) == 1
    remove_leftovers(folder, tmp_path / "absent")
    assert list(folder.iterdir()) == []


OTHERS = ["x.json", ".x.json.tmp", ".hidden", "a.1-2.tmp", ".saving.x", "saving.1", "notes.tmp"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert (tmp_path / name).exists()
