"""Scripts that know nothing of sweeper: they get a directory of their own, resume, are stopped, and fail late."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 100.0

TRAIN = """
import argparse, os, signal
parser = argparse.ArgumentParser()
for name in ("--lr", "--out", "--tag", "--resume"):
    parser.add_argument(name)
given = parser.parse_args()
print(given.out, given.tag, given.resume)
os.makedirs(given.out, exist_ok=True)
if given.resume is None:
    for step in (9, 10):
        with open(f"{given.out}/step-{step}.pt", "w") as file:
            file.write(str(step))
    os.kill(os.getpid(), signal.SIGKILL)
"""
SWEEP = """
name: s
command: ["${interpreter}", train.py, "${resume_args}", "--tag=a-${trial:number}", "${args}"]
method: grid
metric: {name: loss}
launch: LAUNCH
parameters: {lr: {values: [1, 2]}, out: {value: "${trial:dir}/out"}}
resume_args: ["--resume", "${trial:dir}/out/step-*.pt"]
retry: {max: 1, backoff_s: 0}
resources: {cpus: 1}
"""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "1000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def call(folder: Path, *words: str) -> tuple[int, str]:
    process = start(folder, *words)
    out, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out


def until(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


@pytest.mark.parametrize("launch", ["spawn", "preload"])
def test_a_script_resumes_from_its_own_newest_checkpoint(tmp_path: Path, launch: str) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("LAUNCH", launch))
    code, out = call(tmp_path, "run", "sweep.yaml", "--workers", "1")
    assert code == 0, out
    for number in (0, 1):
        trial = tmp_path / f"runs/s/trials/{number:04d}"
        written = [(trial / f"attempts/{attempt}/output.log").read_text() for attempt in (1, 2)]
        resumed = f"{trial}/out/step-10.pt"
        assert written == [f"{trial}/out a-{number} None\n", f"{trial}/out a-{number} {resumed}\n"]
        facts = json.loads((trial / "trial.json").read_text())
        assert facts["params"]["out"] == "${trial:dir}/out"
        assert str(trial) not in json.dumps(facts), "the directory of a run may be moved"
        why = call(tmp_path, "why", "runs/s", str(number))[1]
        assert f"resumed with --resume {resumed}" in why
        assert why.count("resumed with") == 1


def test_an_attempt_without_a_checkpoint_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("LAUNCH", "spawn").replace("[1, 2]", "[1]"))
    assert call(tmp_path, "run", "sweep.yaml")[0] == 1
    path = f"{tmp_path}/runs/s/trials/0000/out/step-*.pt"
    why = call(tmp_path, "why", "runs/s", "0")[1]
    assert why.count(f"started without resume_args, because nothing was at {path}") == 1


SLEEPER = "import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(600)\n"
PLAIN = """
name: s
program: train.py
method: grid
metric: {name: loss}
parameters: {lr: {values: [1]}}
"""


def test_ctrl_c_on_a_script_without_checkpoints_says_that_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SLEEPER)
    (tmp_path / "sweep.yaml").write_text(PLAIN)
    process = start(tmp_path, "run", "sweep.yaml")
    until(tmp_path / "started")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "has the checkpoints" not in out
    none = "it saved no checkpoint through sweeper, so it will start from step 0 unless its script finds one of its own"
    assert f"Interrupted. Run the same command to resume. Trial 0000: {none}.\n" in out
    why = call(tmp_path, "why", "runs/s", "0")[1]
    assert "stopped (by Ctrl-C, `sweeper stop` or a pause; its process ended with SIGTERM)" in why
    assert none in why
    assert "not sent by sweeper" not in out + why


def test_a_rule_or_a_person_that_stopped_a_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SLEEPER)
    (tmp_path / "sweep.yaml").write_text(PLAIN)
    process = start(tmp_path, "run", "sweep.yaml")
    until(tmp_path / "started")
    assert call(tmp_path, "stop", "runs/s", "0", "--because", "enough")[0] == 0
    assert process.communicate(timeout=PATIENCE_S)[0]
    why = call(tmp_path, "why", "runs/s", "0")[1]
    assert "stopped (by a person before its first step; its process ended with SIGTERM)" in why


def test_exec_of_an_interrupted_script_promises_no_checkpoint_either(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SLEEPER)
    process = start(tmp_path, "exec", "--name", "x", "--", sys.executable, "train.py")
    until(tmp_path / "started")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "stopped (by Ctrl-C, `sweeper stop` or a pause; its process ended with SIGTERM)" in out
    assert "it saved no checkpoint through sweeper" in out
    assert "interrupted; with --name x the same command starts it again" in out


def test_exec_takes_arguments_to_resume(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    resume = ("--resume-args", "--resume '${trial:dir}/out/step-*.pt'")
    script = (sys.executable, "train.py", "--out", "${trial:dir}/out")
    code, out = call(tmp_path, "exec", "--name", "x", *resume, "--", *script)
    assert code == 0, out
    assert f"{tmp_path}/runs/x/trials/0000/out None {tmp_path}/runs/x/trials/0000/out/step-10.pt\n" in out
    code, out = call(tmp_path, "exec", "--resume-args", "'a", "--", *script)
    assert code == 2
    assert out.startswith('--resume-args: expected words as a shell takes them, got "\'a": No closing quotation')


LATE = """
import sweeper, sys
with sweeper.trial() as trial:
    trial.report({"loss": 1.0}, step=0)
print("exporting the model")
END
"""


@pytest.mark.parametrize(
    ("end", "code", "state"),
    [
        ("raise OSError('no room')", 1, "FAIL"),
        ("sys.exit(3)", 1, "FAIL"),  # as Hydra does with an exception that it caught
        ("import os; os.kill(os.getpid(), 9)", 0, "COMPLETE"),
        ("import os; os.abort()", 0, "COMPLETE"),
        ("", 0, "COMPLETE"),
    ],
)
def test_an_exit_code_overrules_a_trial_that_was_closed_before(tmp_path: Path, end: str, code: int, state: str) -> None:
    (tmp_path / "train.py").write_text(LATE.replace("END", end))
    (tmp_path / "sweep.yaml").write_text(PLAIN)
    assert call(tmp_path, "run", "sweep.yaml")[0] == code
    why = call(tmp_path, "why", "runs/s", "0")[1]
    assert why.startswith(f"trial 0000: {state}\n")
    exited = 3 if "exit" in end else 1
    assert (f"failed: the script completed, but then exited with code {exited}\n" in why) is (state == "FAIL")
    assert (f"error (exit code {exited}, after its script had completed)" in why) is (state == "FAIL")
    assert ("\n  exporting the model\n" in why) is (state == "FAIL"), "the last lines of its output"
    assert ("which does not change the result" in why) is ("os." in end)
