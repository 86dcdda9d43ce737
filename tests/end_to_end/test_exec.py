"""`sweeper exec` in real processes: one command, watched like the trial of a sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_sweeps import PATIENCE_S, ROOT, until

COUNTER = """
import sys, time, sweeper
steps, pace = int(sys.argv[1]), float(sys.argv[2])
with sweeper.trial() as trial:
    trial.plan(total_steps=steps)
    state = trial.restore() or {"step": -1}
    for step in range(state["step"] + 1, steps):
        time.sleep(pace)
        print("step", step)
        trial.report({"loss/train": 1 / (1 + step)}, step=step)
        if trial.should_save:
            trial.save({"step": step}, step=step)
        if trial.should_stop:
            break
"""

DEEP = """
import sys, torch, sweeper
from torch import nn
with sweeper.trial() as trial:
    layers = [nn.Sequential(nn.Linear(16, 16), getattr(nn, sys.argv[1])()) for _ in range(12)]
    for layer in layers:
        nn.init.orthogonal_(layer[0].weight)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    trial.watch(model, optimizer, every=5)
    for step in range(int(sys.argv[2])):
        loss = (model(torch.randn(8, 16)) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        trial.report({"loss": loss}, step=step)
        if trial.should_stop:
            break
    print("the loop has ended")
"""


class Folder:
    """A folder with a script, and the command line that runs it."""

    def __init__(self, path: Path, script: str) -> None:
        self.path = path
        (path / "train.py").write_text(script)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper.cli", *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in err
        return process.returncode, out, err

    def train(self, *options: str, arguments: tuple[str, ...] = ()) -> tuple[int, str, str]:
        return self.call("exec", *options, "--", sys.executable, "train.py", *arguments)

    def trial(self, name: str) -> dict[str, Any]:
        code, out, err = self.call("status", f"runs/{name}", "--json")
        assert code == 0, err
        (trial,) = json.loads(out)["trials"]
        return dict(trial)


def test_a_complete_run_has_the_record_of_a_sweep_of_one_trial(tmp_path: Path) -> None:
    folder = Folder(tmp_path, COUNTER)
    code, out, err = folder.train("--name", "one", arguments=("3", "0"))
    assert (code, out) == (0, "step 0\nstep 1\nstep 2\n"), err
    assert "complete: best loss/train 0.3333 at step 2" in err
    assert "not observed" in err
    assert "sweeper tensorboard runs/one" in err
    assert [path.name for path in (tmp_path / "runs/one/tensorboard").iterdir() if path.is_dir()] == ["0000"]
    before = folder.trial("one")
    assert (before["state"], before["params"], before["attempts"]) == ("COMPLETE", {}, 1)
    assert folder.call("run", "runs/one/sweep.yaml")[0] == 0  # the file that was written is a sweep file
    assert folder.trial("one") == before


def test_a_run_that_does_not_learn_is_stopped_by_default_with_a_reason(tmp_path: Path) -> None:
    code, out, err = Folder(tmp_path, DEEP).train("--name", "dead", arguments=("Sigmoid", "100000"))
    assert code == 3, out + err
    assert out == "the loop has ended\n"
    at_once, receipt = err.split("trial 0000: PRUNED")
    for said in (at_once, receipt):
        assert "by the rule vanishing_gradient at step 10" in said
        assert "the gradient no longer reaches the first layers" in said
    assert "loss/train was not logged; other metrics: loss " in receipt


def test_a_stopped_run_does_not_run_again_under_its_name(tmp_path: Path) -> None:
    folder = Folder(tmp_path, DEEP)
    (tmp_path / "rules.yaml").write_text("rules:\n  - stalled: {grace_steps: 20}\n")
    call = ("--name", "dead", "--early-stop", "rules.yaml")
    code, _, err = folder.train(*call, arguments=("Sigmoid", "100000"))
    assert code == 3
    assert "rules that may stop the run: stalled (grace_steps 20); " in err
    assert "stalled at step 20" in err
    code, out, err = folder.train(*call, arguments=("Sigmoid", "100000"))
    assert (code, out) == (3, "")
    assert "runs/dead has ended already" in err


def test_without_rules_a_stalled_run_continues(tmp_path: Path) -> None:
    code, _, err = Folder(tmp_path, DEEP).train("--early-stop", "none", arguments=("Sigmoid", "150"))
    assert code == 0, err
    assert "no rule may stop it" in err
    assert "after 150 steps" in err


def test_a_rule_in_observe_mode_reports_what_it_would_have_stopped(tmp_path: Path) -> None:
    folder = Folder(tmp_path, DEEP)
    (tmp_path / "rules.yaml").write_text("mode: observe\nrules: [{stalled: {}}]\n")
    code, out, err = folder.train("--name", "seen", "--early-stop", "rules.yaml", arguments=("Sigmoid", "400"))
    assert code == 0, out + err
    assert "complete" in err
    assert "flagged by the rule stalled at step 60, but continued (observe mode)\n" in err
    trial = folder.trial("seen")
    assert (trial["state"], trial["pruned"], trial["step"]) == ("COMPLETE", None, 399)
    assert (trial["spared"]["as"], trial["spared"]["rule"], trial["spared"]["step"]) == ("observed", "stalled", 60)


def test_a_failing_command_sets_the_exit_code(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "import sys\nprint('no such luck', file=sys.stderr, end='')\nsys.exit(7)\n")
    code, out, err = folder.train()
    assert (code, out) == (7, "no such luck")
    assert "exit code 7" in err
    code, out, _ = folder.call("exec", "no-such-command")
    assert (code, out) == (127, "no-such-command: cannot be started: No such file or directory\n")


def test_a_command_that_is_killed_each_time_ends_with_1(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "import os\nprint('here')\nos.kill(os.getpid(), 9)\n")
    code, out, err = folder.train()
    assert (code, out) == (1, "here\n" * 3), err
    assert "attempt 1 ended with signal 9; attempt 2 starts from the beginning" in err


def test_a_command_gets_its_arguments_and_the_environment_but_no_input(tmp_path: Path) -> None:
    words = ["--lr", "1e-4", "", "no", "${HOME}", "a b", "--", "--name", "é\x1b"]
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM", "MINE")
    script = f"import json, os, sys\nenv = [os.environ.get(name) for name in {names}]\n"
    folder = Folder(tmp_path, script + "print(json.dumps([sys.argv[1:], env, os.getcwd(), sys.stdin.read()]))\n")
    given = {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "7", "MINE": "x"}
    code, out, err = folder.call("exec", "--", sys.executable, "train.py", *words, **given)
    assert code == 0, err
    assert json.loads(out) == [words, ["3", "7", os.environ.get("TOKENIZERS_PARALLELISM"), "x"], str(tmp_path), ""]


def test_a_script_without_sweeper_runs_and_the_user_learns_what_to_add(tmp_path: Path) -> None:
    code, out, err = Folder(tmp_path, "print('plain')\n").train()
    assert (code, out) == (0, "plain\n")
    assert "opened no trial" in err
    assert "with sweeper.trial() as trial" in err
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("train-")


def test_a_mistake_in_the_rules_names_file_line_and_key(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("early_stop:\n  rules:\n    - stalled:\n        windw: 5\n")
    code, _, err = Folder(tmp_path, COUNTER).train("--early-stop", "rules.yaml")
    assert code == 2
    assert (
        "rules.yaml:4: early_stop.rules.0.stalled.windw: expected one of grace_steps, patience, every, window, below"
        in err
    )
    assert not (tmp_path / "runs").exists()


def test_an_interrupted_run_resumes_by_its_name(tmp_path: Path) -> None:
    folder = Folder(tmp_path, COUNTER)
    command = ("exec", "--name", "long", "--", sys.executable, "train.py", "40", "0.05")
    process = folder.start(*command)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(5)]  # the output comes while the command runs
    process.send_signal(signal.SIGINT)
    seen += process.stdout
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "with --name long the same command goes on" in err
    code, out, err = folder.call(*command)
    assert code == 0, err
    assert "resumes from the checkpoint of step" in err
    assert "".join([*seen, out]).splitlines() == [f"step {step}" for step in range(40)]
    assert folder.trial("long")["attempts"] == 2
    code, out, err = folder.call(*command)
    assert (code, out) == (0, "")
    assert "runs/long has ended already" in err


def test_two_interrupts_kill_the_command(tmp_path: Path) -> None:
    deaf = "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\nprint('deaf')\n"
    process = Folder(tmp_path, deaf + "time.sleep(600)\n").start("exec", "--name", "x", sys.executable, "train.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "deaf\n"
    process.send_signal(signal.SIGINT)
    control = tmp_path / "runs/x/trials/0000/control.jsonl"
    until(lambda: b"StopRequested" in control.read_bytes())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err


def test_a_command_is_retried_after_the_chosen_causes(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "import os, sys\nprint(os.environ['SWEEPER_ATTEMPT'])\nsys.exit(3)\n")
    again = ("--retry", "1", "--retry-on", "error,killed")
    code, out, err = folder.call("exec", "--name", "again", *again, sys.executable, "train.py")
    assert (code, out) == (3, "1\n2\n"), err
    code, out, err = folder.call("exec", "--name", "once", "--retry-on", "hung", sys.executable, "train.py")
    assert (code, out) == (3, "1\n"), err


def test_a_command_without_a_step_is_killed_as_hung(tmp_path: Path) -> None:
    hangs = "import time, sweeper\nwith sweeper.trial() as trial:\n    time.sleep(600)\n"
    watched = ("--hang-after-s", "0.5", "--retry", "0")
    code, _, err = Folder(tmp_path, hangs).call("exec", "--name", "x", *watched, sys.executable, "train.py")
    assert code == 1, err
    assert "hung (no step for " in err


@pytest.mark.parametrize(("options", "recorded"), [([], "record"), (["--on-spike", "off"], "off")])
def test_what_happens_at_a_spike_is_an_option(tmp_path: Path, options: list[str], recorded: str) -> None:
    folder = Folder(tmp_path, "")
    code, _, err = folder.call("exec", "--name", "s", *options, "--", "true")
    assert code == 0, err
    assert json.loads((tmp_path / "runs/s/trials/0000/trial.json").read_text())["on_spike"] == recorded


def test_a_closed_pipe_does_not_end_the_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path, COUNTER)
    process = folder.start("exec", "--name", "piped", "--", sys.executable, "train.py", "20", "0.05")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert folder.trial("piped")["step"] == 19


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["exec"], "expected a command"),
        (["exec", "--"], "expected a command"),
        (["exec", "--name", "../..", "true"], "name: expected a name of letters, digits"),
        (["exec", "--early-stop", "none.yaml", "true"], "none.yaml: expected a rules file"),
        (["exec", "--runs", "/proc/none", "true"], "/proc/none"),
        (["exec", "--goal", "up", "true"], "--goal"),
        (["exec", "--retry-on", "death", "true"], "retry.on.0: expected"),
        (["exec", "--hang-after-s", "0", "true"], "hang_after_s: expected"),
    ],
)
def test_invalid_arguments_exit_with_code_2(tmp_path: Path, arguments: list[str], word: str) -> None:
    code, out, err = Folder(tmp_path, COUNTER).call(*arguments)
    assert (code, out) == (2, "")
    assert word in err


def test_the_output_of_a_command_that_prints_without_end_is_bounded(tmp_path: Path) -> None:
    script = "import os\nfor n in range(200): os.write(1, b'%d ' % n + b'x' * 100_000 + b'\\n')"
    folder = Folder(tmp_path, COUNTER)
    arguments = ("--name", "much", "--output-limit-mb", "1", "--", sys.executable, "-c", script)
    code, out, err = folder.call("exec", *arguments)
    assert code == 0
    assert "Trial 0000 printed more than output_limit_mb allows: the middle of its output, 19 MB, was removed" in err
    log = tmp_path / "runs/much/trials/0000/attempts/1/output.log"
    assert log.stat().st_blocks * 512 < 1_100_000
    code, out, _ = folder.call("logs", "runs/much", "0")  # the output of `exec` may have more, if it was fast enough
    lines = out.splitlines()
    assert lines[0].startswith("0 x")
    assert lines[-1].startswith("199 x")
    assert sum("its middle was removed here" in line for line in lines) == 1
