"""The commands that reproduce a trial do what they say when they are pasted, whatever a record contains."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.results.comparison.provenance import differences
from sweeper.results.comparison.reproduction import Reproduction, commands
from tests.views.synthetic import make_trial

ATTACKS = [
    "x;touch here",
    "x$(touch here)",
    "x`touch here`",
    "x\ntouch here",
    "x&touch here",
    "-x",
    "--index-url=y",
    "'",
]


def lines_for(tmp_path: Path, origin: dict[str, object], here: dict[str, object]) -> list[str]:
    from sweeper.record.reader import read_trial

    trial: TrialRecord = read_trial(make_trial(SweepDir(tmp_path / "run"), 0))
    one = Reproduction(trial=trial, name="s", run="run", origin=origin, differences=differences(origin, here))
    return commands(one)[:-1]  # the last one runs sweeper


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", ["name", "value", "commit", "directory", "package", "version"])
def test_no_text_of_a_record_acts_when_the_commands_are_pasted(tmp_path: Path, place: str, attack: str) -> None:
    def text(here: str, usual: str) -> str:
        return attack if place == here else usual

    origin: dict[str, object] = {
        "commit": text("commit", "1a2b3c4d5e6f"),
        "difference": "x",
        "directory": text("directory", "/nowhere"),
        "packages": {text("package", "numpy"): text("version", "1.0"), "torch": "2"},
        "environment": {text("name", "HF_HOME"): text("value", "a")},
    }
    lines = lines_for(tmp_path, origin, {"packages": {"torch": "3"}, "environment": {}})
    assert not any("\n" in line for line in lines)
    folder = tmp_path / "shell"
    folder.mkdir()
    fakes = "git() { echo git; }; pip() { echo pip; }; cd() { :; }; sweeper() { :; }\n"
    subprocess.run(["/bin/bash", "-c", fakes + "\n".join(lines)], cwd=folder, check=False, capture_output=True)
    assert not list(folder.iterdir())
    words = [word for line in lines if line.startswith(("git", "pip")) for word in line.split()[2:]]
    assert not [word for word in words if word.strip("'").startswith("-")]


def test_usual_names_are_set_and_installed(tmp_path: Path) -> None:
    origin: dict[str, object] = {"packages": {"numpy": "1.0+cu1"}, "environment": {"OMP_NUM_THREADS": "1 2"}}
    lines = lines_for(tmp_path, origin, {"packages": {"numpy": "2"}, "environment": {}})
    assert lines == ["pip install numpy==1.0+cu1", "export OMP_NUM_THREADS='1 2'"]
