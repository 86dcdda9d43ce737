"""`stop`, `pause`, `resume`, `revive` and `queue` from another terminal, in real processes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.storage.layout import SweepDir
from sweeper.results.status import read_sweep, to_json
from tests.end_to_end.test_sweeps import LEARNER, PATIENCE_S, Sweep, grid, until

SLOW = 0.05
RUN = "runs/steered"


WAITS = "        while step == 5 and not os.path.exists('go'):\n            time.sleep(0.02)\n        time.sleep("
STILL = "import os\n" + LEARNER.replace("        time.sleep(", WAITS, 1)
"""A learner that waits at step 5 until a file `go` exists."""


def sweep_of(folder: Path, *rates: int, pace: float = SLOW, script: str = LEARNER) -> Sweep:
    parameters = {"lr": {"values": list(rates) or [1, 2]}, "pace": {"value": pace}}
    return Sweep(folder, script, grid("steered", pace=pace) | {"parameters": parameters})


def steps(sweep: Sweep, number: int) -> bytes:
    files = sweep.run_directory.glob(f"trials/{number:04d}/attempts/*/events.jsonl")
    return b"".join(path.read_bytes() for path in files)


def control(sweep: Sweep, number: int) -> str:
    path = sweep.run_directory / f"trials/{number:04d}/control.jsonl"
    return path.read_text() if path.exists() else ""


def say(sweep: Sweep, *arguments: str) -> str:
    code, out, err = sweep.call(*arguments)
    assert code == 0, out + err
    return out


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, out + err
    return out


def seen(sweep: Sweep) -> dict[str, Any]:
    """Return the output of `status --json`, without a process for it."""
    status: dict[str, Any] = json.loads(json.dumps(to_json(read_sweep(SweepDir(sweep.run_directory)))))
    return status


def states(sweep: Sweep) -> list[str]:
    return [trial["state"] for trial in seen(sweep)["trials"]]


def values(sweep: Sweep) -> list[float | None]:
    return [trial["value"] for trial in seen(sweep)["trials"]]


def test_stop_from_another_terminal_equals_ctrl_c(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    process = sweep.start("run", "sweep.yaml")
    until(lambda: b'"step":3,' in steps(sweep, 0))
    assert f"sent to pid {process.pid}" in say(sweep, "stop", RUN)
    assert "Interrupted. Run the same command to resume" in ended(process, 130)
    assert seen(sweep)["state"] == "STOPPED"
    assert list(sweep.run_directory.glob("trials/*/checkpoints/*.pt"))
    assert not list((sweep.run_directory / "inbox").iterdir())
    ended(sweep.start("run", "sweep.yaml"))  # what was said to the one is not for the next
    assert values(sweep) == [820.0, 1640.0]


def test_a_command_to_an_ended_orchestrator_is_not_for_the_next_one(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, pace=0.0)
    (sweep.run_directory / "inbox").mkdir(parents=True)
    (sweep.run_directory / "inbox/1.json").write_text(json.dumps({"do": "stop", "to": "pid 1 on mars"}))
    ended(sweep.start("run", "sweep.yaml"))
    assert states(sweep) == ["COMPLETE", "COMPLETE"]


def test_the_receipt_of_a_stopped_trial_names_the_user_and_the_reason(tmp_path: Path) -> None:
    """A running and a waiting trial: the search learns that both were pruned, with their value so far."""
    sweep = sweep_of(tmp_path, 1, 2, 3)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":3,' in steps(sweep, 0))
    say(sweep, "stop", RUN, "0", "2", "--because", "the loss is flat")
    out = ended(process)
    assert states(sweep) == ["PRUNED", "COMPLETE", "PRUNED"]
    first, _, last = seen(sweep)["trials"]
    assert (first["pruned"]["rule"], first["pruned"]["reason"]) == ("a person", "the loss is flat")
    assert first["pruned"]["evidence"]["value"] == pytest.approx(first["value"], abs=200)
    assert 3 <= first["step"] < 39
    assert (last["attempts"], last["value"]) == (0, None)
    assert "saved" not in out  # no rule saved anything
    why = say(sweep, "why", RUN, "0")
    assert f"pruned by a person at step {first['pruned']['step']}\n  the loss is flat\n" in why
    assert "stopped (by a person at step" in why
    assert "pruned by a person before its first step" in say(sweep, "why", RUN, "2")
    told = {one["configuration"]: one for one in _events(sweep, "search.jsonl") if one["event"] == "Told"}
    assert [(told[n]["state"], told[n]["value"]) for n in (0, 2)] == [("PRUNED", first["value"]), ("PRUNED", None)]
    say(sweep, "revive", RUN, "0")
    assert states(sweep) == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert values(sweep)[0] == 820.0


def test_a_paused_trial_waits_until_it_is_resumed(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":3,' in steps(sweep, 0))
    say(sweep, "pause", RUN, "0")
    until(lambda: b'"outcome":"completed"' in steps(sweep, 1))  # its slot is another's
    until(lambda: states(sweep) == ["PAUSED", "COMPLETE"])
    assert process.poll() is None  # the sweep waits for it
    assert "0000: PAUSED" in say(sweep, "why", RUN, "0")
    assert "1 of 2 ended, 0 running, 1 paused" in say(sweep, "status", RUN)
    say(sweep, "resume", RUN, "0")
    out = ended(process)
    assert "Trial 0000 is paused: it is asked to save a checkpoint and exit, until `sweeper resume`" in out
    assert "Trial 0000 is resumed" in out
    assert values(sweep) == [820.0, 1640.0]
    assert [trial["attempts"] for trial in seen(sweep)["trials"]] == [2, 1]
    assert '"event":"Resumed"' in steps(sweep, 0).decode()


def test_a_trial_stays_paused_across_calls_until_it_is_resumed(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":3,' in steps(sweep, 0))
    say(sweep, "pause", RUN, "0", "1")
    until(lambda: states(sweep) == ["PAUSED", "PAUSED"])
    say(sweep, "stop", RUN)
    ended(process, 130)
    again = sweep.start("run", "sweep.yaml")
    until(lambda: seen(sweep)["state"] == "RUNNING")
    say(sweep, "stop", RUN)
    ended(again, 130)
    assert states(sweep) == ["PAUSED", "PAUSED"]
    assert seen(sweep)["state"] == "STOPPED"
    process = sweep.start("resume", RUN, "0", "1")
    ended(process)
    assert values(sweep) == [820.0, 1640.0]


def test_a_whole_sweep_is_paused_and_resumed(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    process = sweep.start("run", "sweep.yaml")
    until(lambda: b'"step":3,' in steps(sweep, 0) and b'"step":3,' in steps(sweep, 1))
    say(sweep, "pause", RUN)
    until(lambda: states(sweep) == ["WAITING", "WAITING"])
    assert seen(sweep)["state"] == "PAUSED"
    assert process.poll() is None
    say(sweep, "resume", RUN)
    out = ended(process)
    assert "until `sweeper resume`" in out
    assert values(sweep) == [820.0, 1640.0]
    assert [trial["attempts"] for trial in seen(sweep)["trials"]] == [2, 2]
    log = _events(sweep, "log.jsonl")
    assert [(e["event"], e.get("do")) for e in log][-5:] == [
        ("CommandGiven", "pause"),
        ("SweepPaused", None),
        ("CommandGiven", "resume"),
        ("SweepResumed", None),
        ("SweepEnded", None),
    ]


def test_no_rule_stops_a_running_trial_that_was_revived(tmp_path: Path) -> None:
    """`plateau` would stop it at step 10, because its loss never improves; it is revived before that step."""
    flat = STILL.replace('"loss/train": 1 / (1 + total)', '"loss/train": 1.0')
    rules = {"early_stop": {"rules": [{"plateau": {"grace_steps": 10}}]}}
    sweep = Sweep(tmp_path, flat, grid("steered", pace=SLOW) | rules)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":4,' in steps(sweep, 0))
    say(sweep, "spare", RUN, "0")
    until(lambda: "Revived" in control(sweep, 0))
    (tmp_path / "go").touch()
    ended(process)
    first, second = seen(sweep)["trials"]
    assert (first["state"], first["spared"]["as"], first["attempts"]) == ("COMPLETE", "revived", 1)
    assert (second["state"], second["pruned"]["rule"]) == ("PRUNED", "plateau")


def test_the_first_trial_in_the_queue_starts_next(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 1, 2, 3, 4, script=STILL)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":3,' in steps(sweep, 0))
    say(sweep, "queue", RUN, "3", "--first")
    say(sweep, "queue", RUN, "2", "--first")
    until(lambda: not list((sweep.run_directory / "inbox").iterdir()))
    listed = [line.split()[0] for line in say(sweep, "queue", RUN).splitlines()]
    assert listed == ["trial", "0002", "0003", "0001", "3"]
    (tmp_path / "go").touch()
    ended(process)
    order = sorted(range(4), key=lambda number: json.loads(control(sweep, number).splitlines()[0])["time"])
    assert order == [0, 2, 3, 1]


def test_commands_to_a_sweep_that_is_not_running_are_carried_out_by_the_next_call(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 1, 2, 3)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":3,' in steps(sweep, 0))
    say(sweep, "stop", RUN)
    ended(process, 130)
    assert "the next `sweeper run` does this before anything else" in say(sweep, "stop", RUN, "1")
    say(sweep, "queue", RUN, "2", "--first")
    ended(sweep.start("run", "sweep.yaml", "--workers", "1"))
    assert states(sweep) == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert control(sweep, 1).count("Launched") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stop", RUN], "this sweep is not running; `sweeper run FILE` starts or resumes it"),
        (["pause", RUN], "this sweep is not running; `sweeper run FILE` starts or resumes it"),
        (["resume", RUN], "this sweep is not running; `sweeper run FILE` starts or resumes it"),
        (["stop", RUN, "0"], "expected the number of a trial that has not ended, got 0, which is COMPLETE"),
        (["pause", RUN, "9"], "expected the number of a trial (0 to 1), got 9"),
        (["resume", RUN, "1"], "expected the number of a paused trial, got 1, which is COMPLETE"),
        (["queue", RUN, "1"], "expected --first and the numbers of trials, or neither"),
        (["queue", RUN, "1", "--first"], "expected the number of a trial that waits, got 1, which is COMPLETE"),
        (["stop", RUN, "--because", "x"], "this sweep is not running; `sweeper run FILE` starts or resumes it"),
    ],
)
def test_invalid_commands_are_explained(ended_sweep: Sweep, arguments: list[str], said: str) -> None:
    code, out, err = ended_sweep.call(*arguments)
    assert code == 2, out
    assert said in err
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def ended_sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    sweep = sweep_of(tmp_path_factory.mktemp("ended"), pace=0.0)
    ended(sweep.start("run", "sweep.yaml"))
    return sweep


def _events(sweep: Sweep, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (sweep.run_directory / name).read_text().splitlines() if line]
