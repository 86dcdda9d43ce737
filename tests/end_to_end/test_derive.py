"""`sweeper derive`: a trial continues another one's checkpoint with changed parameters, in real processes."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.checkpoints import saved_checkpoints
from sweeper.record.events import Checkpointed, Metrics, Resumed
from sweeper.record.storage.inbox import NEWEST, DeriveTrial, received, send
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.service import commands
from tests.end_to_end.test_steering import ended, say, seen, steps
from tests.end_to_end.test_sweeps import ROOT, Sweep, until

RUN = "runs/derived"
STEPS = 24

SCRIPT = """
import os, time, torch, sweeper
with sweeper.trial() as trial:
    torch.manual_seed(trial.seed)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.params["lr"], weight_decay=trial.params["wd"])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    trial.plan(total_steps=24, peak_lr=trial.params["lr"])
    first = 0
    if "NO_RESTORE" not in os.environ and (state := trial.restore()):
        first = state["step"] + 1
        for name, part in parts.items():
            part.load_state_dict(state[name])
    for step in range(first, 24):
        while step == 12 and os.path.exists("wait") and not os.path.exists("go"):
            time.sleep(0.02)
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        group = optimizer.param_groups[0]
        known = optimizer.state[model.weight].get("step", torch.tensor(0.0))
        trial.report({"lr": group["lr"], "wd": group["weight_decay"], "known": known, "loss": loss}, step=step)
        optimizer.step()
        scheduler.step()
        if trial.should_save:
            trial.save({name: part.state_dict() for name, part in parts.items()} | {"step": step}, step=step)
        if trial.should_stop:
            break
"""

FILE: dict[str, Any] = {
    "name": "derived",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [0.4, 0.2]}, "wd": {"value": 0.01}},
    "checkpoint": {"every_steps": 4, "keep_healthy": 3},
}


def sweep_of(folder: Path, **changes: Any) -> Sweep:
    return Sweep(folder, SCRIPT, FILE | {"command": ["${interpreter}", "train.py"]} | changes)


def metric(sweep: Sweep, number: int, name: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for attempt in SweepDir(sweep.run_directory).trial(number).attempts():
        events = read_journal(attempt.events)
        found |= {e.step: e.values[name] for e in events if isinstance(e, Metrics) and name in e.values}
    return found


def facts(sweep: Sweep, number: int) -> dict[str, Any]:
    return dict(read_json(SweepDir(sweep.run_directory).trial(number).facts))


def count(sweep: Sweep) -> int:
    return len(SweepDir(sweep.run_directory).trials())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep of two trials that has ended, from which trials are derived."""
    sweep = sweep_of(tmp_path_factory.mktemp("whole"))
    ended(sweep.start("run", "sweep.yaml", "--workers", "1"))
    return sweep


def derive(sweep: Sweep, *arguments: str) -> dict[str, Any]:
    """Derive a trial of a sweep that does not run; return its status."""
    number = count(sweep)
    say(sweep, "derive", RUN, *arguments)
    assert count(sweep) == number + 1
    status: dict[str, Any] = seen(sweep)["trials"][number]
    return status


def test_the_newest_checkpoint_is_continued_with_the_new_rate(whole: Sweep) -> None:
    trial = derive(whole, "0", "lr=0.1", "wd=0.05", "--because", "too high")
    assert (trial["state"], trial["params"]) == ("COMPLETE", {"lr": 0.1, "wd": 0.05})
    assert trial["derived"]["step"] == STEPS - 1  # the parent saved after its last step
    assert trial["derived"]["reason"] == "too high"


def test_a_step_is_chosen_and_the_rates_are_those_of_the_parent_times_the_factor(whole: Sweep) -> None:
    before = metric(whole, 0, "lr")
    trial = derive(whole, "0", "lr=0.1", "wd=0.05", "--at", "13")
    assert trial["derived"] | {"by": None} == {
        "parent": 0,
        "step": 11,
        "changes": {"lr": 0.1, "wd": 0.05},
        "lr_factor": 0.25,
        "fresh_optimizer": False,
        "by": None,
        "reason": None,
        "diagnosis": None,
    }
    number = trial["number"]
    after = metric(whole, number, "lr")
    assert after == pytest.approx({step: rate / 4 for step, rate in before.items() if step > 11})
    assert set(metric(whole, number, "wd").values()) == {0.05}
    assert metric(whole, number, "known")[12] == 12.0  # the moments were kept
    assert facts(whole, number)["configuration"] == -number


def test_a_fresh_optimizer_forgets_its_moments(whole: Sweep) -> None:
    number = derive(whole, "1", "--at", "13", "--fresh-optimizer")["number"]
    assert metric(whole, number, "known")[12] == 0.0
    assert metric(whole, number, "lr")[12] == pytest.approx(metric(whole, 1, "lr")[12])


def test_the_start_needs_no_checkpoint(whole: Sweep) -> None:
    trial = derive(whole, "0", "lr=0.3", "--at", "start")
    assert (trial["derived"]["step"], trial["derived"]["lr_factor"]) == (None, 1.0)
    assert metric(whole, trial["number"], "lr")[0] == 0.3


def test_the_same_is_not_derived_twice(whole: Sweep) -> None:
    number = derive(whole, "1", "lr=0.05", "--at", "13")["number"]
    there = count(whole)
    said = say(whole, "derive", RUN, "1", "lr=0.05", "--at", "14")
    assert count(whole) == there
    assert f"Nothing is derived, because trial {number:04d} is derived from trial 0001" in said


def test_a_derived_trial_is_a_parent_too_also_at_the_step_where_it_began(whole: Sweep) -> None:
    number = derive(whole, "1", "lr=0.02", "--at", "13")["number"]
    trial = derive(whole, str(number), "lr=0.01", "--at", "11")
    assert trial["derived"]["parent"] == number
    assert trial["derived"]["step"] == 11
    assert metric(whole, trial["number"], "lr")[12] == pytest.approx(metric(whole, 1, "lr")[12] / 20)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["9", "lr=1"], "expected the number of a trial"),
        (["0", "lrr=1"], "did you mean lr?"),
        (["0", "lr"], "lr"),
        (["0", "lr=high"], "a number"),
        (["0", "--at", "soon"], "expected a step, or start, got 'soon'"),
        (["0", "lr=0.1", "--at", "2"], "expected a checkpoint up to step 2, got checkpoints after these steps: "),
    ],
)
def test_wrong_inputs_are_explained(whole: Sweep, arguments: Sequence[str], said: str) -> None:
    there = count(whole)
    code, out, err = whole.call("derive", RUN, *arguments)
    assert code == 2, out + err
    assert said in err
    assert "Traceback" not in err
    assert count(whole) == there


def test_every_view_names_the_parent(whole: Sweep) -> None:
    number = derive(whole, "0", "lr=0.15", "--at", "13")["number"]
    origin = "0000+11"
    assert origin in say(whole, "status", RUN)
    why = " ".join(say(whole, "why", RUN, str(number)).split())
    assert "It is derived from trial 0000 by " in why
    assert "after step 11, with lr=0.15 (it was 0.4)" in why
    assert f"Trial {number:04d} (COMPLETE) is derived from trial 0000" in " ".join(say(whole, "why", RUN, "0").split())
    say(whole, "export", RUN, "--csv", "table.csv")
    rows = {row["number"]: row for row in csv.DictReader(io.StringIO((whole.folder / "table.csv").read_text()))}
    assert (rows[str(number)]["parent"], rows[str(number)]["parent_step"]) == ("0", "11")
    assert (rows["0"]["parent"], rows["0"]["configuration"], rows[str(number)]["configuration"]) == ("", "0", "")
    say(whole, "report", RUN)
    page = (whole.run_directory / "report" / "report.html").read_text()
    assert f"{number:04d} (complete) is derived from trial 0000" in page
    assert f"from={origin}" in page
    assert f"-{number}" not in say(whole, "why", RUN)  # what the search was told
    say(whole, "verify", RUN)
    labels = [path.name for path in (whole.run_directory / "tensorboard").iterdir()]
    assert any(label.startswith(f"{number:04d}_") and label.endswith(f"from={origin}") for label in labels)


def test_a_derived_trial_is_reproduced_from_the_same_checkpoint(whole: Sweep) -> None:
    number = derive(whole, "0", "lr=0.12", "--at", "13")["number"]
    code, out, err = whole.call("reproduce", RUN, str(number), "--run")
    assert code == 0, out + err
    assert "The values are equal to the recorded ones, to the last bit." in out + err
    again = SweepDir(whole.folder / "runs" / f"derived-{number:04d}-again")
    known, before = read_json(again.trial(0).facts)["derived"], facts(whole, number)["derived"]
    assert known == {**before, "run": "derived"}
    assert "derived/0000+11" in say(whole, "status", str(again.path))
    for file in SweepDir(whole.run_directory).trial(number).checkpoints.glob("step-000000011.*"):
        file.unlink()
    for file in SweepDir(whole.run_directory).trial(0).checkpoints.glob("step-000000011.*"):
        file.rename(whole.folder / file.name)
    try:
        code, out, err = whole.call("reproduce", RUN, str(number), "--run")
    finally:
        for file in whole.folder.glob("step-000000011.*"):
            file.rename(SweepDir(whole.run_directory).trial(0).checkpoints / file.name)
    assert code == 2
    assert "Reproduce the parent first" in err
    assert "-0000-again 0 --at 11 lr=0.12" in err


def test_a_running_parent_goes_on_beside_its_child(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    (tmp_path / "wait").touch()
    process = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: b'"step":11,' in steps(sweep, 0) and b'"event":"Checkpointed"' in steps(sweep, 0))
    until(lambda: b'"step":11,"file"' in steps(sweep, 0))
    (tmp_path / "wait").unlink()
    say(sweep, "derive", RUN, "0", "lr=0.1", "--at", "9")
    (tmp_path / "go").touch()
    ended(process)
    assert [trial["state"] for trial in seen(sweep)["trials"]] == ["COMPLETE"] * 3
    assert seen(sweep)["trials"][2]["derived"]["step"] == 7
    assert sorted(metric(sweep, 2, "lr")) == list(range(8, STEPS))
    assert sorted(metric(sweep, 0, "lr")) == list(range(STEPS))


def test_a_command_is_carried_out_once_although_its_orchestrator_was_killed(tmp_path: Path) -> None:
    """The trial is on the disk, and the command was not removed; the newest checkpoint is another one by now."""
    sweep = sweep_of(tmp_path)
    ended(sweep.start("run", "sweep.yaml", "--workers", "1"))
    run = SweepDir(sweep.run_directory)
    command = DeriveTrial(number=0, changes={"lr": 0.1}, at=13, lr_factor=0.25, by="me", request="one of a kind")
    send(run, command)
    ended(sweep.start("run", "sweep.yaml", "--workers", "1"))
    assert count(sweep) == 3
    send(run, DeriveTrial(number=0, changes={"lr": 0.1}, at=NEWEST, lr_factor=0.25, by="me", request="one of a kind"))
    ended(sweep.start("run", "sweep.yaml", "--workers", "1"))
    assert count(sweep) == 3
    assert not list(run.inbox.iterdir())


def test_a_checkpoint_that_is_gone_when_the_trial_is_made_is_named(tmp_path: Path) -> None:
    """A running parent removes older checkpoints, also one from which a trial is about to be derived."""
    sweep = sweep_of(tmp_path)
    ended(sweep.start("run", "sweep.yaml", "--workers", "1"))
    run = SweepDir(sweep.run_directory)
    commands.derive(run, 0, {"lr": 0.1}, at=13)
    ((_, asked),) = received(run)
    assert isinstance(asked, DeriveTrial)
    (chosen,) = (one for one in saved_checkpoints(run.trial(0)) if one.step == asked.at == 11)
    (run.trial(0).checkpoints / chosen.file).unlink()
    said = " ".join(ended(sweep.start("run", "sweep.yaml", "--workers", "1")).split())
    assert "Trial 0000 has no checkpoint of step 11 any more: the derived trial continues from step 7" in said
    assert seen(sweep)["trials"][2]["derived"]["step"] == 7


@pytest.mark.parametrize("made", [False, True], ids=["before", "after"])
def test_killed_between_the_command_and_the_trial(tmp_path: Path, made: bool) -> None:
    sweep = sweep_of(tmp_path)
    (tmp_path / "wait").touch()
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":11,"file"' in steps(sweep, 0))
    if made:
        say(sweep, "derive", RUN, "0", "lr=0.1", "--at", "9")
        until(lambda: count(sweep) == 3)
    else:
        process.send_signal(signal.SIGSTOP)
        say(sweep, "derive", RUN, "0", "lr=0.1", "--at", "9")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (tmp_path / "go").touch()
    ended(sweep.start("run", "sweep.yaml", "--workers", "1"))
    assert [trial["state"] for trial in seen(sweep)["trials"]] == ["COMPLETE"] * 3
    assert seen(sweep)["trials"][2]["derived"]["step"] == 7


def test_a_script_that_restores_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = sweep_of(tmp_path, parameters={"lr": {"values": [0.4]}, "wd": {"value": 0.01}})
    ended(sweep.start("run", "sweep.yaml"))
    monkeypatch.setenv("NO_RESTORE", "1")
    said = say(sweep, "derive", RUN, "0", "lr=0.1", "--at", "13")
    words = "Trial 0001 began at the start: its script did not restore the checkpoint of 0000+11"
    assert said.count(words) == 1
    assert words in " ".join(say(sweep, "status", RUN).split())
    assert "It began at the start".lower() in " ".join(say(sweep, "why", RUN, "1").split()).lower()
    events = [e for a in SweepDir(sweep.run_directory).trial(1).attempts() for e in read_journal(a.events)]
    assert not any(isinstance(event, Resumed) for event in events)
    assert any(isinstance(event, Checkpointed) for event in events)


def test_a_damaged_derivation_is_a_trial_that_cannot_be_read(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, parameters={"lr": {"values": [0.4]}, "wd": {"value": 0.01}})
    ended(sweep.start("run", "sweep.yaml"))
    say(sweep, "derive", RUN, "0", "lr=0.1", "--at", "13")
    path = SweepDir(sweep.run_directory).trial(1).facts
    path.write_text(path.read_text().replace('"parent": 0', '"parent": 1'))
    code, out, err = sweep.call("verify", RUN)
    assert code == 1, out + err
    status = seen(sweep)
    assert len(status["trials"]) == 1
    assert "trials/0001/trial.json" in status["unreadable"][0]
    assert json.dumps(status)


PAGE = (ROOT / "docs" / "reference" / "derived.md").read_text("utf-8")


def test_the_example_of_the_page_works_when_it_is_copied(tmp_path: Path) -> None:
    languages = re.findall(r"```(python|yaml)\n(.*?)```", PAGE, re.DOTALL)
    blocks = dict(languages)
    assert len(languages) == 2
    sweep = Sweep(tmp_path, blocks["python"], FILE)
    (tmp_path / "derived.yaml").write_text(blocks["yaml"])
    commands = re.search(r"```\n(sweeper run derived.yaml\n.*?)```", PAGE, re.DOTALL)
    assert commands is not None
    said = [say(sweep, *shlex.split(line)[1:]) for line in commands[1].splitlines()]
    assert "after step 119, with lr=0.05 (it was 0.2)" in " ".join(said[-1].split())
    before, after = metric(sweep, 0, "learning_rate"), metric(sweep, 2, "learning_rate")
    assert after == pytest.approx({step: rate / 4 for step, rate in before.items() if step > 119})
