"""Tiny sweeps in real processes, through the command line, as a user would run them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sweeper

ROOT = Path(sweeper.__file__).parents[1]
PATIENCE_S = 150.0

LEARNER = """
import time, sweeper
with sweeper.trial(defaults={"steps": 40}) as trial:
    steps = trial.params["steps"]
    trial.plan(total_steps=steps, peak_lr=trial.params["lr"])
    state = trial.restore() or {"step": -1, "sum": 0.0}
    total = state["sum"]
    for step in range(state["step"] + 1, steps):
        time.sleep(trial.params.get("pace", 0.0))
        total += trial.params["lr"] * (step + 1)
        trial.report({"loss/train": 1 / (1 + total), "accuracy": total}, step=step)
        if trial.should_save:
            trial.save({"step": step, "sum": total}, step=step)
        if trial.should_stop:
            break
"""

DEEP = """
import torch, sweeper
from torch import nn
with sweeper.trial() as trial:
    torch.manual_seed(trial.seed)
    squash = {"sigmoid": nn.Sigmoid, "none": nn.Identity}[trial.params["activation"]]
    layers = [nn.Sequential(nn.Linear(16, 16), squash()) for _ in range(12)]
    for layer in layers:
        nn.init.orthogonal_(layer[0].weight)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    trial.plan(total_steps=2000, peak_lr=1e-3)
    trial.watch(model, optimizer, every=5)
    for step in range(2000):
        loss = (model(torch.randn(8, 16)) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        trial.report({"loss/train": loss, "accuracy": -loss.detach()}, step=step)
        if trial.should_stop:
            break
"""


class Sweep:
    """A folder with a script and a sweep file, and the command line that runs it."""

    def __init__(self, folder: Path, script: str, file: dict[str, Any]) -> None:
        self.folder = folder
        (folder / "train.py").write_text(script)
        (folder / "sweep.yaml").write_text(json.dumps({"command": ["${interpreter}", "train.py", "${args}"]} | file))
        self.run_directory = folder / "runs" / str(file["name"])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def status(self) -> dict[str, Any]:
        code, out, err = self.call("status", str(self.run_directory), "--json")
        assert code == 0, err
        status: dict[str, Any] = json.loads(out)
        return status

    def values(self) -> list[Any]:
        return [trial["value"] for trial in self.status()["trials"]]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def grid(name: str, *, pace: float = 0.0, seeds: list[int] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "method": "grid",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "parameters": {"lr": {"values": [1, 2]}, "pace": {"value": pace}},
        "seeds": seeds or [0],
    }


def steps_seen(sweep: Sweep, step: int) -> bool:
    events = sweep.run_directory.glob("trials/*/attempts/*/events.jsonl")
    return any(f'"step":{step},'.encode() in path.read_bytes() for path in events)


@pytest.mark.slow
def test_a_sweep_completes_and_prunes_a_stalled_trial(tmp_path: Path) -> None:
    file = grid("depth") | {
        "parameters": {"activation": {"values": ["none", "sigmoid"]}},
        "early_stop": {"rules": [{"stalled": {"grace_steps": 20}}]},
    }
    sweep = Sweep(tmp_path, DEEP, file)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    status = sweep.status()
    learned, stalled = status["trials"]
    assert (status["name"], status["state"]) == ("depth", "COMPLETE")
    assert (learned["state"], learned["step"], learned["pruned"]) == ("COMPLETE", 1999, None)
    assert (stalled["state"], stalled["pruned"]["rule"], stalled["pruned"]["step"]) == ("PRUNED", "stalled", 20)
    assert stalled["step"] < 1999
    assert stalled["pruned"]["evidence"]["median"] < 0.005
    assert "no longer reaches the first layers" in out
    assert {
        "number",
        "spared",
        "params",
        "seed",
        "state",
        "value",
        "step",
        "total_steps",
        "pruned",
        "attempts",
        "seconds",
        "derived",
        "spikes",
        "skipped",
        "damaged",
        "cause",
        "health",
        "healthy",
        "values",
        "constraints",
        "feasible",
        "rank",
    } == set(learned)
    why = sweep.call("why", "runs/depth", "1")[1]
    assert "stalled" in why
    assert "no longer reaches the first layers" in why
    boards = sorted(path.name for path in (sweep.run_directory / "tensorboard").iterdir() if path.is_dir())
    assert boards == ["0000_activation=none", "0001_activation=sigmoid"]


@pytest.mark.slow
def test_a_pruner_stops_the_worse_trial_and_names_the_comparison(tmp_path: Path) -> None:
    """One trial at a time, the best first: the second is worse than the median of the ended ones, the first."""
    file = grid("behind", pace=0.05) | {
        "parameters": {"lr": {"values": [2, 1]}, "pace": {"value": 0.05}},
        "early_stop": {"rules": [{"median": {"n_startup_trials": 1, "n_warmup_steps": 4}}]},
    }
    sweep = Sweep(tmp_path, LEARNER, file)
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "1")
    assert code == 0, out + err
    first, second = sweep.status()["trials"]
    assert (first["state"], second["state"], second["pruned"]["rule"]) == ("COMPLETE", "PRUNED", "median")
    assert second["pruned"]["step"] == 3
    assert second["step"] < 39
    why = sweep.call("why", "runs/behind", "1")[1]
    assert "pruned by the rule median at step 3" in why
    assert "1 of 1 siblings were better at that evaluation (their median is 20)" in why


def test_tensorboard_listens_on_loopback_and_lists_the_trials(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("board"))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    shutil.rmtree(sweep.run_directory / "tensorboard")  # a projection: it is made again
    process = sweep.start("tensorboard", "runs/board", "--port", "0")
    assert process.stderr is not None
    url = ""
    while not url:
        line = process.stderr.readline()
        assert line, "TensorBoard did not say where it listens"
        url = next((word for word in line.split() if word.startswith("http://127.0.0.1:")), "")
    try:
        until(lambda: len(_runs_at(url)) == 2)
        assert _runs_at(url) == ["0000_lr=1", "0001_lr=2"]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def _runs_at(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}data/runs", timeout=10) as answer:  # noqa: S310 - loopback
        runs: list[str] = json.load(answer)
    return sorted(runs)


@pytest.mark.slow
def test_a_second_call_repeats_nothing(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("twice", seeds=[0, 1]))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    before = sweep.status()
    assert [trial["attempts"] for trial in before["trials"]] == [1, 1, 1, 1]
    assert sweep.values() == [820.0, 1640.0, 820.0, 1640.0]
    assert sweep.call("run", "sweep.yaml")[0] == 0
    after = sweep.status()
    assert {**after, "now": 0, "budget": 0} == {**before, "now": 0, "budget": 0}  # only the time has gone on


@pytest.mark.slow
def test_an_interrupted_sweep_resumes_from_its_checkpoints(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("stop", pace=0.05))
    process = sweep.start("run", "sweep.yaml")
    until(lambda: steps_seen(sweep, 5))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, out + err
    status = sweep.status()
    assert status["state"] == "STOPPED"
    assert "WAITING" in [trial["state"] for trial in status["trials"]]
    assert list(sweep.run_directory.glob("trials/*/checkpoints/*.pt"))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert sweep.values() == [820.0, 1640.0]
    assert max(trial["attempts"] for trial in sweep.status()["trials"]) == 2


def test_two_interrupts_kill_the_workers(tmp_path: Path) -> None:
    deaf = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n" + LEARNER
    sweep = Sweep(tmp_path, deaf, grid("twice", pace=0.5))
    process = sweep.start("run", "sweep.yaml")
    until(lambda: steps_seen(sweep, 0))
    process.send_signal(signal.SIGINT)
    until(
        lambda: b"StopRequested" in b"".join(p.read_bytes() for p in sweep.run_directory.glob("trials/*/control.jsonl"))
    )
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    exits = [json.loads(path.read_text()) for path in sweep.run_directory.glob("trials/*/attempts/*/exit.json")]
    assert exits
    assert {exit_["signal"] for exit_ in exits} == {signal.SIGKILL}


def test_workers_of_a_killed_orchestrator_are_taken_over_and_not_duplicated(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("orphans", pace=0.1))
    process = sweep.start("run", "sweep.yaml")
    until(lambda: steps_seen(sweep, 3))
    process.kill()
    process.communicate()
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert sweep.values() == [820.0, 1640.0]
    assert [trial["attempts"] for trial in sweep.status()["trials"]] == [1, 1]


def test_a_resumed_sweep_prints_only_the_ends_that_no_earlier_call_has_printed(tmp_path: Path) -> None:
    """The second trial ends after its orchestrator was killed, so the next call is the first to print its end."""
    waits = "        while trial.params['lr'] == 2 and not os.path.exists('go'):\n            time.sleep(0.02)\n"
    waits += "        time.sleep("
    sweep = Sweep(tmp_path, "import os\n" + LEARNER.replace("        time.sleep(", waits, 1), grid("resumed"))
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    second = sweep.run_directory / "trials/0001/attempts/1"
    until((second / "events.jsonl").exists)
    process.kill()
    out, _ = process.communicate()
    assert "0000 complete after 40 steps" in out
    (tmp_path / "go").touch()
    until((second / "exit.json").exists)
    _, out, _ = sweep.call("run", "sweep.yaml")
    assert "resuming resumed: 1 of 2 trials ended before\n" in out
    assert "0000 complete" not in out
    assert "0001 complete after 40 steps" in out
    (sweep.run_directory / "ended.jsonl").unlink()  # a cache: without it, the log tells that the last call saw all ends
    _, out, _ = sweep.call("run", "sweep.yaml")
    assert "resuming resumed: 2 of 2 trials ended before\n" in out
    assert "complete after" not in out


def test_a_second_orchestrator_names_the_first_and_exits(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("busy", pace=0.1))
    process = sweep.start("run", "sweep.yaml")
    until(lambda: steps_seen(sweep, 0))
    code, _, err = sweep.call("run", "sweep.yaml")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert code == 2
    assert f"is being run by pid {process.pid}" in err


def test_a_failing_script_fails_the_sweep_and_is_tried_again_by_the_next_call(tmp_path: Path) -> None:
    script = LEARNER + "    if trial.params['lr'] == 2:\n        raise ValueError('no such luck')\n"
    sweep = Sweep(tmp_path, script, grid("luck"))
    code, out, _ = sweep.call("run", "sweep.yaml")
    states = [trial["state"] for trial in sweep.status()["trials"]]
    assert (code, states) == (1, ["COMPLETE", "FAIL"])
    assert "0001 failed after 40 steps: ValueError: no such luck (exit code 1)" in out
    (sweep.folder / "train.py").write_text(LEARNER)
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert [trial["attempts"] for trial in sweep.status()["trials"]] == [1, 2]


def test_a_metric_that_no_trial_reports_is_named_while_the_sweep_runs_and_by_status(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("misnamed") | {"early_stop": {"rules": [{"median": {}}, {"stalled": {}}]}})
    code, out, _ = sweep.call("run", "sweep.yaml", "metric.name=acuracy")
    assert code == 0
    metric, rule = sweep.status()["unmet"]
    assert metric == (
        "no trial has reported the metric acuracy so far: trials cannot be ranked, and median cannot stop any "
        "(reported: accuracy, loss/train; did you mean accuracy?)"
    )
    assert rule.startswith("the rule stalled cannot fire: no trial has recorded reach or update_ratio so far")
    assert out.splitlines().count(metric) == 1
    shown = " ".join(sweep.call("status", str(sweep.run_directory))[1].split())
    assert metric in shown
    assert rule in shown


@pytest.mark.slow
def test_values_and_seeds_can_be_added_and_nothing_else(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("grown"))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    code, out, err = sweep.call("run", "sweep.yaml", "parameters.lr.values=[1,2,3]", "seeds=[0,1]")
    assert code == 0, out + err
    assert "Added to the sweep: " in out
    trials = sweep.status()["trials"]
    assert [(trial["params"]["lr"], trial["seed"]) for trial in trials] == [
        (1, 0),
        (2, 0),
        (3, 0),
        (1, 1),
        (2, 1),
        (3, 1),
    ]
    assert [trial["attempts"] for trial in trials] == [1] * 6
    code, _, err = sweep.call("run", "sweep.yaml", "parameters.lr.values=[1]", "seeds=[0,1]")
    assert code == 2
    assert "parameters.lr" in err
    assert sweep.status()["trials"] == trials


@pytest.mark.slow
@pytest.mark.parametrize("method", ["random", "bayes", "cmaes", "qmc"])
def test_a_search_resumed_proposes_what_an_uninterrupted_one_would_have(tmp_path: Path, method: str) -> None:
    file = grid("searched") | {
        "method": method,
        "run_cap": 4,
        "parameters": {"lr": {"min": 1, "max": 100, "distribution": "log_uniform_values"}},
    }
    proposals = []
    for caps in ([4], [2, 4]):
        folder = tmp_path / f"{len(caps)}"
        folder.mkdir()
        sweep = Sweep(folder, LEARNER, file)
        for cap in caps:
            code, out, err = sweep.call("run", "sweep.yaml", f"run_cap={cap}", "--workers", "1")
            assert code == 0, out + err
        proposals.append([trial["params"]["lr"] for trial in sweep.status()["trials"]])
    assert len(proposals[0]) == 4
    assert proposals[0] == proposals[1]


def test_a_mistake_in_the_file_is_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("wrong"))
    (tmp_path / "sweep.yaml").write_text("name: wrong\nmethod: grit\nmetric: {name: a}\ncommand: [a]\nparametres: {}\n")
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 2
    assert "sweep.yaml:2: method" in err
    assert "sweep.yaml:5: parametres" in err
    assert "did you mean parameters" in err
    assert "Traceback" not in out + err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run", "none.yaml"], "none.yaml"),
        (["status", "none"], "none"),
        (["why", "none", "3"], "none"),
        (["tensorboard", "none"], "none"),
        (["run", "sweep.yaml", "--workers", "0"], "above 0"),
        (["run", "sweep.yaml", "--profile", "x"], "x"),
        (["run", "sweep.yaml", "--runs", "/proc/none"], "/proc/none"),
    ],
)
def test_wrong_calls_are_answered_with_code_2_and_no_traceback(tmp_path: Path, arguments: list[str], word: str) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("fine"))
    code, out, err = sweep.call(*arguments)
    assert code == 2, out + err
    assert word in err
    assert "Traceback" not in out + err
