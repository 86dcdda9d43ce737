"""The wall clock is written down, and decides nothing: an hour more or less in the middle of a run changes no result.

The clock is a real one as every process sees it, set by libfaketime, which only CLOCK_REALTIME is given to.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.test_sweeps import LEARNER, grid, steps_seen, until
from tests.faults.small import PATIENCE_S, VALUES, Patient
from tests.faults.surroundings import HOUR_S, faketime

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says how far off the clock of all processes is from now on."""
    path = tmp_path / "clock"
    path.write_text("+0\n")
    monkeypatch.setenv("LD_PRELOAD", str(faketime()))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(path))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    monkeypatch.setenv("NO_FAKE_STAT", "1")
    return path


def _set(clock: Path, offset_s: int) -> None:
    aside = clock.with_suffix(".new")
    aside.write_text(f"{offset_s:+d}\n")
    aside.replace(clock)


def _wall_clock() -> float:
    return float(subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout)


def test_the_clock_of_processes_can_be_set(clock: Path) -> None:
    before = _wall_clock()
    _set(clock, HOUR_S)
    assert _wall_clock() - before >= HOUR_S


def test_a_clock_that_jumps_spends_no_budget_and_no_cadence(tmp_path: Path, clock: Path) -> None:
    file = grid("jumps", pace=0.1) | {"budget": {"hours": 0.9}, "checkpoint": {"every_minutes": 30}}
    sweep = Patient(tmp_path, LEARNER, file)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")  # the second is launched after the first jump
    until(lambda: steps_seen(sweep, 5))
    _set(clock, -HOUR_S)
    until(lambda: steps_seen(sweep, 20))
    _set(clock, HOUR_S)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out + err
    status = sweep.status()
    assert sweep.values() == VALUES
    assert [trial["attempts"] for trial in status["trials"]] == [1, 1]
    assert [trial["state"] for trial in status["trials"]] == ["COMPLETE", "COMPLETE"]
    assert all(trial["seconds"] >= 0 for trial in status["trials"])
    answers = sweep.calls_of_all_kinds()
    shown = out + "".join(text for _, text, _ in answers.values())
    assert not re.search(r"-\d+(\.\d+)?(s|m\d\ds|h)\b", shown)
    assert not list(sweep.run_directory.glob("trials/*/checkpoints/*.pt"))  # none was due in these few seconds
