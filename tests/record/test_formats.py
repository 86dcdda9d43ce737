"""Records of older formats are read as before, and resumed: `data/format-2` was written by the version before."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from sweeper.record.events import Launched
from sweeper.record.reader import read_trial
from sweeper.record.storage import inbox
from sweeper.record.storage.journal import JournalReader, read_journal
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.trial import State
from sweeper.results.status import read_sweep, to_json
from sweeper.results.verification import verify
from tests.faults.recorded import SCRIPT, call, grid

DATA = Path(__file__).parent / "data" / "format-2"


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    return SweepDir(shutil.copytree(DATA / "kinds", tmp_path / "runs" / "kinds"))


def test_a_record_of_format_2_is_read_as_before(run: SweepDir) -> None:
    status = to_json(read_sweep(run))
    assert status.pop("damage") == []
    expected = json.loads((DATA / "expected.json").read_text())
    found = json.loads(json.dumps(status))
    assert {key: found[key] for key in expected if key != "trials"} == {
        key: expected[key] for key in expected if key != "trials"
    }
    for trial, before in zip(found["trials"], expected["trials"], strict=True):
        assert {key: trial[key] for key in before} == before  # keys of later versions aside


def test_a_record_of_format_2_is_verified_as_far_as_it_can_be(run: SweepDir) -> None:
    found = verify(run)
    assert not found.damage
    assert (found.lines, found.files, found.rows, found.checkpoints) == (131, 22, 6, 1)
    assert (found.lines_without, found.files_without, found.rows_without) == (131, 22, 6)


def test_a_torn_line_of_format_2_takes_no_value(run: SweepDir) -> None:
    before = read_trial(run.trial(0))
    events = run.trial(0).attempt(1).events
    first, *others = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(first + b'{"event":"Met\n' + b"".join(others))
    after = read_trial(run.trial(0))
    assert (after.state, after.value, after.damaged, after.altered) == (before.state, before.value, 1, ())


def test_a_run_of_format_2_is_resumed(run: SweepDir) -> None:
    folder = run.path.parents[1]
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(grid() | {"budget": {"trials": 7}}))
    for trial in run.trials():
        trial.facts.write_text(trial.facts.read_text().replace('"python"', json.dumps(sys.executable)))
    shutil.rmtree(run.trial(6).path)  # it never ran, so it is made anew, in format 3
    inbox.send(run, inbox.ForTrial(do=inbox.TrialCommand.RESUME, number=5))  # otherwise the call waits for it
    before = {trial.number: read_trial(trial) for trial in run.trials()}
    code, said = call(folder, "run", "sweep.yaml", "--workers", "2")
    assert "damage" not in said
    assert code == 1, said  # a trial fails, as it did before
    after = {trial.number: read_trial(trial) for trial in run.trials()}
    assert {n: (t.state, t.value) for n, t in after.items() if n < 5} == {
        n: (t.state, t.value) for n, t in before.items() if n < 5
    }
    assert (after[5].state, after[6].state) == (State.COMPLETE, State.COMPLETE)
    assert (after[2].facts.format, after[6].facts.format) == (2, 3)
    control = run.trial(2).control  # with lines of both formats
    assert b'"crc"' not in control.read_bytes().splitlines()[0]
    assert b'"crc"' in control.read_bytes().splitlines()[-1]
    launches = [event for event in read_journal(control) if isinstance(event, Launched)]
    assert len(launches) == len(before[2].attempts) + 1
    assert not verify(run).damage
    reader = JournalReader(run.log)
    reader.read()
    assert reader.lines > reader.unsummed > 0
    assert "crc" not in read_json(run.spec)
