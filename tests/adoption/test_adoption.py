"""Unmodified scripts under `watch: auto`, and the same scripts with the lines for sweeper."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeper.record.events import Finished, Observation, Started
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import TrialDir
from tests.adoption.families import (
    FAMILIES,
    TORCHRUN,
    Family,
    adopted,
    events_of,
    inferred,
    metric,
    notes,
    observations,
    run,
    started,
)
from tests.end_to_end.test_sweeps import PATIENCE_S, ROOT, until


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [pytest.param(one, id=one.name, marks=needs(*one.packages)) for one in FAMILIES if one.losses],
)
def test_an_unmodified_script_records_what_it_records_with_the_lines_for_sweeper(
    tmp_path: Path, family: Family
) -> None:
    recorded = {}
    for with_lines in (False, True):
        path = adopted(tmp_path / str(with_lines), family.script, with_lines=with_lines)
        code, output, events = run(path, *family.arguments, command=family.command)
        assert code == 0, output
        assert [type(event) for event in events].count(Started) == 1
        assert [event.outcome for event in events if isinstance(event, Finished)] == ["completed"]
        recorded[with_lines] = events
    assert observations(recorded[False]) == observations(recorded[True])
    if family.script != "manual_updates.py":
        assert len(observations(recorded[False])) >= 2
        assert "step=0," in observations(recorded[False])[0]
    for name in family.losses:
        assert metric(recorded[False], name) == pytest.approx(metric(recorded[True], name), rel=1e-6)
        assert len(metric(recorded[False], name)) >= 2
    assert not inferred(recorded[True])
    assert "watch: auto" not in notes(recorded[True])
    assert inferred(recorded[False]) or family.script == "manual_updates.py"
    assert "failed" not in notes(recorded[False])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "steps", "found"),
    [
        ("sam.py", [], 30, {"optimizers": ("sgd_0 (SGD)",)}),
        ("lbfgs.py", [], 15, {"optimizers": ("opt (LBFGS)",)}),
        (
            "phases.py",
            [],
            120,
            {"optimizers": ("a (Adam)", "b (Adam)"), "models": ("head (Linear)", "enc (Sequential)")},
        ),
        ("forks.py", [], 16, {"optimizers": ("o (SGD)",)}),
        ("spawn_ddp.py", [], 25, {"optimizers": ("o (SGD)",)}),
        ("compiled.py", ["model"], 45, {"models": ("model (OptimizedModule)",)}),
        ("compiled.py", ["inplace"], 45, {"models": ("net (Sequential)",)}),
        ("compiled.py", ["full"], 45, {"models": ("net (Sequential)",)}),
    ],
)
def test_each_optimizer_step_is_counted_once(
    tmp_path: Path, script: str, arguments: list[str], steps: int, found: dict[str, tuple[str, ...]]
) -> None:
    code, output, events = run(adopted(tmp_path, script, with_lines=False), *arguments)
    assert code == 0, output
    assert [type(event) for event in events].count(Started) == 1
    assert [event.outcome for event in events if isinstance(event, Finished)] == ["completed"]
    assert list(metric(events, "loss/backward")) == list(range(steps))
    assert found.items() <= inferred(events).items()
    assert [event.step for event in events if isinstance(event, Observation)] == list(range(0, steps, 10))


@pytest.mark.slow
def test_a_script_that_resumes_by_itself_counts_on(tmp_path: Path) -> None:
    path = adopted(tmp_path, "resuming.py", with_lines=False)
    retry = ("--retry", "1", "--retry-on", "error", "--resume-args", "--resume ${trial:dir}/last.pt")
    code, output, first = run(path, "--out", "${trial:dir}", options=("--early-stop", "none", *retry))
    assert code == 0, output
    trial = read_trial(TrialDir(tmp_path / "runs/r/trials/0000"))
    assert trial.progress.step == 59
    assert list(metric(first, "loss/backward")) == list(range(36))
    second = read_journal(Path(str(events_of(path)).replace("attempts/1", "attempts/2")))
    assert list(metric(second, "loss/backward")) == list(range(30, 60))
    assert metric(second, "loss/backward")[35] == pytest.approx(metric(first, "loss/backward")[35])
    assert [event.step for event in second if isinstance(event, Observation)] == [30, 40, 50]


@pytest.mark.slow
def test_steps_in_compiled_code_are_said_not_to_be_seen(tmp_path: Path) -> None:
    code, output, _ = run(adopted(tmp_path, "compiled.py", with_lines=False), "step")
    assert code == 0, output
    assert "no step of AdamW was seen; steps in compiled code cannot be watched" in output


@pytest.mark.slow
def test_one_of_several_children_that_train_is_recorded(tmp_path: Path) -> None:
    code, output, events = run(adopted(tmp_path, "hogwild.py", with_lines=False))
    assert code == 0, output
    assert [type(event) for event in events].count(Started) == 1
    assert list(metric(events, "loss/backward")) == list(range(40))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "command"),
    [
        ("config_by_exec.py", ["--max_iters=1000000"], (sys.executable,)),
        ("hf_trainer.py", ["out", "100000"], (sys.executable,)),
        ("lightning_module.py", ["out", "100000"], (sys.executable,)),
        ("torchrun.py", ["1000000"], TORCHRUN),
    ],
)
def test_an_unmodified_script_stops_after_a_step(
    tmp_path: Path, script: str, arguments: list[str], command: Sequence[str]
) -> None:
    path = adopted(tmp_path, script, with_lines=False)
    process = started(path, arguments, command, ["--early-stop", "none"])
    until(lambda: events_of(path).exists() and len(metric(read_journal(events_of(path)), "loss/backward")) > 20)
    stop = [sys.executable, "-m", "sweeper.cli", "stop", "runs/r", "0"]
    subprocess.run(stop, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    output, _ = process.communicate(timeout=PATIENCE_S)
    events = read_journal(events_of(path))
    assert [event.outcome for event in events if isinstance(event, Finished)] == ["stopped"], output
    assert "trial 0000: PRUNED" in output
    if script == "torchrun.py":
        steps = {rank: max(map(int, re.findall(rf"rank {rank} step (\d+)", output))) for rank in (0, 1)}
        assert steps[0] == steps[1]
        assert {"rank 0 left", "rank 1 left"} <= set(output.splitlines())
    if script in ("hf_trainer.py", "lightning_module.py"):
        assert list((path.parent / "runs/r/trials/0000/checkpoints").iterdir()) or list(path.parent.glob("out/check*"))


@pytest.mark.slow
@needs("hydra")
def test_a_script_of_hydra_that_fails_has_failed(tmp_path: Path) -> None:
    code, output, _ = run(adopted(tmp_path, "hydra_app.py", with_lines=False), "fail=true")
    assert code == 1
    assert "trial 0000: FAIL" in output


@pytest.mark.slow
def test_a_diverging_unmodified_script_is_stopped_with_a_reason(tmp_path: Path) -> None:
    path = adopted(tmp_path, "config_by_exec.py", with_lines=False)
    code, output, _ = run(path, "--learning_rate=1e30", "--max_iters=1000000", options=())
    assert code == 3
    assert "pruned by the rule non_finite" in output
