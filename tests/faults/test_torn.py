"""A record that was cut anywhere is read as far as it goes, and the next writer does not append to a torn line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sweeper.record.reader import read_trials
from sweeper.record.storage import inbox
from sweeper.record.storage.layout import SweepDir
from tests.end_to_end.test_sweeps import LEARNER, grid
from tests.faults.small import Patient, says

pytestmark = pytest.mark.timeout(900)
JOURNALS = {
    "events": "trials/0000/attempts/1/events.jsonl",
    "control": "trials/0000/control.jsonl",
    "log": "log.jsonl",
    "search": "search.jsonl",
}
WHOLE = {
    "exit": "trials/0000/attempts/1/exit.json",
    "claim": "trials/0000/attempts/1/claim",
    "facts": "trials/0000/trial.json",
    "spec": "spec.json",
    "command": "inbox/command.json",
}
FILES = JOURNALS | WHOLE
SAMPLED = 41
"""Of this many offsets one is tried here: the matrix reads a run at every one of them."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    """A small run that went through, and a command that was not carried out."""
    file = grid("small") | {"parameters": {"lr": {"values": [1, 2]}, "steps": {"value": 3}}}
    sweep = Patient(tmp_path_factory.mktemp("recorded"), LEARNER, file)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    inbox.send(sweep.run_dir, inbox.ForTrial(do=inbox.TrialCommand.REVIVE, number=0))
    (command,) = sweep.run_dir.inbox.iterdir()
    command.rename(sweep.run_directory / WHOLE["command"])
    return sweep


@pytest.mark.parametrize("name", FILES)
def test_commands_read_a_run_with_files_that_were_cut(recorded: Patient, name: str) -> None:
    path, run = recorded.run_directory / FILES[name], str(recorded.run_directory)
    whole = path.read_bytes()
    try:
        for offset in range(0, len(whole), SAMPLED):
            path.write_bytes(whole[:offset])
            for command in (["status", run], ["why", run, "0"], ["why", run, "1"], ["backtest", run]):
                code, _, err = says(*command)
                assert code in (0, 2), (command, offset)
                assert code == 0 or err, (command, offset)
    finally:
        path.write_bytes(whole)


def test_damage_in_the_middle_costs_its_own_lines_and_is_counted(recorded: Patient) -> None:
    path = recorded.run_directory / JOURNALS["events"]
    whole = path.read_bytes()
    lines = whole.split(b"\n")
    try:
        path.write_bytes(b"\n".join([lines[0], b"\x00\xff garbage", *lines[2:]]))
        (trial, entries), _ = read_trials(recorded.run_dir)[0]
        assert [one.line for one in trial.damage] == [2, 3]  # the third line continues after the one that is gone
        assert len(entries) == len(lines) - 3
        assert f"damaged:{path}:2:thisline" in "".join(says("why", str(recorded.run_directory), "0")[1].split())
        assert "0000 is damaged at attempts/1/events.jsonl:2: " in says("status", str(recorded.run_directory))[1]
    finally:
        path.write_bytes(whole)


CUTS = [("events", 0.0), ("events", 0.5), ("control", 0.0), ("search", 0.3), ("facts", 0.5), ("command", 0.5)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part"), CUTS)
def test_a_run_goes_on_after_a_file_of_it_was_cut(recorded: Patient, tmp_path: Path, name: str, part: float) -> None:
    sweep = _copy(recorded, tmp_path)
    path = sweep.run_directory / FILES[name]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * (len(whole) - 1))])
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    status = sweep.status()
    assert {trial["state"] for trial in status["trials"]} == {"COMPLETE"}
    assert sorted(trial["params"]["lr"] for trial in status["trials"]) == [1, 2]
    if name == "facts":
        assert [trial["number"] for trial in status["trials"]] == [1, 2]  # 0 keeps its bytes, and is run anew as 2
        assert "The record of trial 0000 is damaged and is left as it is; its configuration runs anew" in out
        assert path.read_bytes() == whole[: int(part * (len(whole) - 1))]
    if name != "events":  # what the trial measured before it was cut off its record is gone
        assert sorted(trial["value"] for trial in status["trials"]) == [6.0, 12.0]


@pytest.mark.slow
def test_a_resolved_sweep_that_was_cut_is_named_and_made_anew_once_it_is_moved_away(
    recorded: Patient, tmp_path: Path
) -> None:
    sweep = _copy(recorded, tmp_path)
    before = sweep.status()["trials"]
    spec = sweep.run_dir.spec
    spec.write_bytes(spec.read_bytes()[:100])
    code, _, err = sweep.call("run", "sweep.yaml")
    assert code == 2
    assert f"{spec}: expected JSON" in err.replace("runs/", f"{sweep.folder}/runs/")
    assert "move it away" in err
    spec.rename(spec.with_name("spec.damaged"))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert sweep.status()["trials"] == before


def _copy(recorded: Patient, folder: Path) -> Patient:
    file = json.loads((recorded.folder / "sweep.yaml").read_text())
    sweep = Patient(folder, LEARNER, file)
    shutil.copytree(recorded.run_directory, sweep.run_directory)
    return sweep


def test_a_directory_without_anything_is_no_trial(recorded: Patient, tmp_path: Path) -> None:
    run = SweepDir(shutil.copytree(recorded.run_directory, tmp_path / "run"))
    run.trial(2).path.mkdir()
    assert [len(found) for found in read_trials(run)] == [2, 0]
