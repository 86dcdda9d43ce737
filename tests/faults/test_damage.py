"""One byte of a record is altered, anywhere: no reader believes it in silence. The matrix alters 2,000."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State
from tests.faults.damage import Answers, harm
from tests.faults.recorded import call, grid, recorded
from tests.faults.small import says

pytestmark = pytest.mark.timeout(900)
SAMPLED = 100
QUICK = ("good", "fails", "killed", "late", "waits")
"""The kinds of trials that take no time: without torch's watch, and without one that a rule has to stop."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SweepDir:
    """A small run with trials that completed, failed, were retried, are paused, and wait."""
    return recorded(tmp_path_factory.mktemp("whole"), grid(QUICK), paused=3)


@pytest.fixture
def run(whole: SweepDir, tmp_path: Path) -> SweepDir:
    for name in ("train.py", "sweep.yaml"):
        shutil.copy(whole.path.parents[1] / name, tmp_path / name)
    return SweepDir(shutil.copytree(whole.path, tmp_path / "runs" / whole.path.name))


def test_no_altered_byte_is_believed_in_silence(run: SweepDir) -> None:
    undamaged, chance, outcomes = Answers.of(run), random.Random(0), Counter[str]()
    for _ in range(SAMPLED):
        outcome, silent = harm(run, undamaged, chance)
        assert not silent, silent
        outcomes[outcome] += 1
    assert outcomes["named"] > SAMPLED / 3
    assert Answers.of(run) == undamaged


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_digit_of_a_parameter_is_not_believed(run: SweepDir) -> None:
    facts = run.trial(0).facts
    replace(facts, "0.05", "0.75")
    status = json.loads(says("status", str(run.path), "--json")[1])
    assert [trial["number"] for trial in status["trials"]] == [1, 2, 3, 4]
    reason = f"{facts}: its content does not match its checksum: it was altered after it was written"
    assert status["unreadable"] == [reason]
    code, out, err = says("why", str(run.path), "0")
    assert (code, out) == (2, "")
    assert reason in err


def test_an_altered_exit_does_not_run_a_failed_trial_again(run: SweepDir) -> None:
    exit_ = run.trial(1).attempt(2).exit
    assert read_trial(run.trial(1)).state is State.FAIL
    replace(exit_, '"cause":"error"', '"cause":"killed"')
    trial = read_trial(run.trial(1))
    assert trial.state is State.FAIL
    assert [one.file for one in trial.damage] == [exit_]
    attempts = len(trial.attempts)
    _, said = call(run.path.parents[1], "run", "sweep.yaml", "--workers", "2")
    assert "Trial 0001 is damaged at attempts/2/exit.json, and is not run again" in said
    assert len(read_trial(run.trial(1)).attempts) == attempts


def test_a_deleted_byte_does_not_run_a_complete_trial_again(run: SweepDir) -> None:
    control = run.trial(0).control
    assert read_trial(run.trial(0)).state is State.COMPLETE
    control.write_bytes(control.read_bytes()[1:])
    trial = read_trial(run.trial(0))
    assert (trial.state, trial.value, trial.undecided) == (State.FAIL, None, True)
    _, said = call(run.path.parents[1], "run", "sweep.yaml", "--workers", "2")
    assert "Trial 0000 is damaged at control.jsonl:1, and is not run again: this line does not match" in said
    assert "restore the file from a copy, or move the trial's directory away" in said
    assert "not known how it ended, and it is not run again" in says("why", str(run.path), "0")[1]
    assert not (run.trial(0).path / "attempts" / "2").exists()


def test_a_trial_with_a_damaged_line_has_no_value_and_its_other_lines_are_shown(run: SweepDir) -> None:
    events = run.trial(0).attempt(1).events
    before = read_trial(run.trial(0)).value
    replace(events, '"step":3,', '"step":4,')
    (row, *_) = json.loads(says("status", str(run.path), "--json")[1])["trials"]
    assert (row["state"], row["value"], row["damaged"]) == ("COMPLETE", None, 1)
    out = says("why", str(run.path), "0")[1]
    assert "no value, because the record is damaged; best accuracy of what is left: " in " ".join(out.split())
    assert before is not None


def test_an_end_that_was_cut_off_is_noticed_although_each_line_is_right(run: SweepDir) -> None:
    events = run.trial(0).attempt(1).events
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:-2]))
    trial = read_trial(run.trial(0))
    assert trial.value is None
    assert str(trial.damage[0]).startswith(f"{events}: its end is missing: it has ")


def test_a_damaged_cache_is_rebuilt_in_silence(run: SweepDir) -> None:
    before = says("status", str(run.path), "--json")
    ended = run.ended.read_bytes()
    for changed in (b"", ended[: len(ended) // 2], ended.replace(b"COMPLETE", b"PRUNED"), b"\xff" + ended):
        run.ended.write_bytes(changed)
        assert says("status", str(run.path), "--json") == before
        assert says("verify", str(run.path))[0] == 0


def test_a_configuration_with_a_damaged_line_is_not_run_twice(run: SweepDir) -> None:
    replace(run.search, '"kind":"fails"', '"kind":"falls"')
    folder = run.path.parents[1]
    _, said = call(folder, "run", "sweep.yaml", "--workers", "2")
    assert "search.jsonl:2: this line does not match its checksum" in said
    assert len(run.trials()) == len(QUICK)
