"""Scripts in any language that never import sweeper: their metrics rank, prune and survive an orchestrator."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.events import Collected
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from tests.end_to_end.test_sweeps import PATIENCE_S, Sweep, until

PLAIN = """
import argparse, csv, json, os, time
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--pace", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()
out = os.environ["SWEEPER_TRIAL_DIR"]
os.makedirs(f"{out}/results", exist_ok=True)
table = open(f"{out}/results/scores.csv", "w", newline="")
lines = open(f"{out}/metrics.jsonl", "w")
rows = csv.writer(table)
rows.writerow(["epoch", "accuracy"])
for epoch in range(options.epochs):
    print(f"epoch {epoch}: loss {1 / (1 + options.lr * epoch):.4f}", flush=True)
    rows.writerow([epoch, options.lr * epoch])
    lines.write(json.dumps({"eval": {"bleu": epoch}}) + "\\n")
    if epoch < options.epochs - 1:
        table.flush(), lines.flush()
    time.sleep(options.pace)
"""

SHELL = r"""#!/bin/sh
# A learner in awk: it prints a loss each epoch, and dies of NaN with a large learning rate.
lr=${1#--lr=}
awk -v lr="$lr" 'BEGIN {
    for (epoch = 0; epoch < 60; epoch++) {
        if (lr > 5 && epoch >= 3) loss = "nan"; else loss = 1 / (1 + lr * epoch)
        printf "%d loss=%s\n", epoch, loss
        fflush()
        system("sleep 0.05")
    }
}'
"""

ACCURACY = {"csv": {"file": "results/*.csv", "column": "accuracy", "step": "epoch"}}
LOSS = {"output": r"epoch (?P<step>\d+): loss (\S+)"}


def plain(folder: Path, *rates: float, pace: float = 0.0, **keys: Any) -> Sweep:
    file = {
        "name": "plain",
        "command": [sys.executable, "train.py", f"--pace={pace}", "${args}"],
        "method": "grid",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "metrics": {"accuracy": ACCURACY, "loss/train": LOSS, "bleu": {"json": "eval.bleu"}},
        "parameters": {"lr": {"values": list(rates)}},
        "seeds": [0],
    }
    return Sweep(folder, PLAIN, file | keys)


def collected(sweep: Sweep, number: int, name: str) -> list[tuple[int, float]]:
    events = read_journal(SweepDir(sweep.run_directory).trial(number).control)
    return [(one.step, one.values[name]) for one in events if isinstance(one, Collected) and name in one.values]


@pytest.mark.slow
def test_a_plain_script_is_ranked_by_what_it_wrote_up_to_its_last_row(tmp_path: Path) -> None:
    sweep = plain(tmp_path, 1.0, 2.0)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert sweep.values() == [19.0, 38.0]
    trial = read_trial(SweepDir(sweep.run_directory).trial(0))
    assert {name: series.last_step for name, series in trial.progress.metrics.items()} == {
        "accuracy": 19,
        "loss/train": 19,
        "bleu": 19,
    }
    assert trial.step == 19
    assert "best accuracy" in out
    runs = sweep.run_directory / "tensorboard"
    assert any(b"bleu" in path.read_bytes() for path in runs.glob("0000*/events.out.tfevents.*"))


@pytest.mark.slow
def test_a_pruner_stops_a_plain_script_by_what_it_wrote(tmp_path: Path) -> None:
    rules = {"rules": [{"median": {"n_startup_trials": 1, "n_warmup_steps": 4}}]}
    parameters = {"lr": {"values": [2.0, 1.0]}, "epochs": {"value": 60}}
    sweep = plain(tmp_path, pace=0.05, early_stop=rules, parameters=parameters)
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "1")
    assert code == 0, out + err
    first, second = sweep.status()["trials"]
    assert (first["state"], second["state"], second["pruned"]["rule"]) == ("COMPLETE", "PRUNED", "median")
    assert second["pruned"]["step"] == 3
    assert second["step"] < 59


@pytest.mark.slow
def test_a_rule_stops_a_shell_script_by_what_it_printed(tmp_path: Path) -> None:
    file = {
        "name": "shell",
        "command": ["sh", "train.py"],
        "method": "grid",
        "metric": {"name": "loss/train"},
        "metrics": {"loss/train": {"output": r"^(?P<step>\d+) loss=(?P<value>\S+)"}},
        "parameters": {"lr": {"values": [1, 9]}},
        "early_stop": {"rules": [{"non_finite": {}}]},
    }
    sweep = Sweep(tmp_path, SHELL, file)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    well, ill = sweep.status()["trials"]
    assert (well["state"], well["value"], well["step"]) == ("COMPLETE", pytest.approx(1 / 60, rel=1e-4), 59)
    assert (ill["state"], ill["pruned"]["rule"]) == ("PRUNED", "non_finite")
    assert ill["step"] < 59


@pytest.mark.slow
def test_no_value_is_lost_or_written_twice_if_the_orchestrator_is_killed(tmp_path: Path) -> None:
    sweep = plain(tmp_path, 1.0, pace=0.1)
    process = sweep.start("run", "sweep.yaml")
    until(lambda: len(collected(sweep, 0, "accuracy")) > 4)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    expected = [(epoch, float(epoch)) for epoch in range(20)]
    assert collected(sweep, 0, "accuracy") == expected
    assert collected(sweep, 0, "bleu") == expected
    assert [step for step, _ in collected(sweep, 0, "loss/train")] == list(range(20))
    assert sweep.values() == [19.0]


@pytest.mark.slow
def test_a_misspelt_column_is_named_and_can_be_corrected_without_running_the_trials_again(tmp_path: Path) -> None:
    sweep = plain(tmp_path, 1.0, metrics={"accuracy": {"csv": "acuracy"}})
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    advice = "metrics.accuracy: no CSV file below the directory of a trial has the column acuracy so far; "
    advice += "there are: epoch, accuracy; did you mean accuracy?"
    assert advice in sweep.status()["unmet"]
    assert "did you mean accuracy?" in out
    file = json.loads((tmp_path / "sweep.yaml").read_text())
    file["metrics"]["accuracy"] = ACCURACY
    (tmp_path / "sweep.yaml").write_text(json.dumps(file))
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert sweep.values() == [19.0]
    assert sweep.status()["trials"][0]["attempts"] == 1
    file["metrics"]["accuracy"] = {"csv": "epoch"}
    (tmp_path / "sweep.yaml").write_text(json.dumps(file))
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code != 0
    assert "metrics.accuracy: {csv: {column: 'epoch'}} instead of" in err
