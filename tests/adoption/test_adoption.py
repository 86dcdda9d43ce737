"""Unmodified scripts under `watch: auto`, and the same scripts with the lines for sweeper.

In `scripts/`, the lines after `# sweeper: ` are those that a user would add. Without them the script is unmodified.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.record.events import Event, Finished, Inferred, Metrics, Noted, Observation, Started
from sweeper.record.storage.journal import read_journal
from tests.end_to_end.test_sweeps import PATIENCE_S, ROOT, until

SCRIPTS = Path(__file__).parent / "scripts"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def adopted(folder: Path, script: str, *, with_lines: bool) -> Path:
    """Copy a script, and turn its lines for sweeper on or leave them out."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(SCRIPTS / "conf", folder / "conf", dirs_exist_ok=True)
    text = (SCRIPTS / script).read_text()
    text = (
        text.replace("# sweeper: ", "") if with_lines else re.sub(r"^ *# sweeper: .*\n", "", text, flags=re.MULTILINE)
    )
    (folder / script).write_text(text)
    return folder / script


def started(
    script: Path, arguments: Sequence[str], command: Sequence[str], options: Sequence[str]
) -> subprocess.Popen[str]:
    """Run the script with `sweeper exec` in its folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", "exec", "--name", "r", *options, "--", *command, script.name, *arguments],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    script: Path,
    *arguments: str,
    command: Sequence[str] = (sys.executable,),
    options: Sequence[str] = ("--early-stop", "none"),
) -> tuple[int, str, list[Event]]:
    """Run the script to its end; return the exit code, the output, and the events of the worker."""
    process = started(script, arguments, command, options)
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output, read_journal(events_of(script))


def events_of(script: Path) -> Path:
    return script.parent / "runs" / "r" / "trials" / "0000" / "attempts" / "1" / "events.jsonl"


def observations(events: Sequence[Event]) -> list[str]:
    """Return the observations as text, without their time; NaN equals NaN."""
    return [repr(replace(event, time=0.0)) for event in events if isinstance(event, Observation)]


def metric(events: Sequence[Event], name: str) -> dict[int, float]:
    return {event.step: event.values[name] for event in events if isinstance(event, Metrics) and name in event.values}


def notes(events: Sequence[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Noted))


def inferred(events: Sequence[Event]) -> dict[str, tuple[str, ...]]:
    """Return what was found last, by its kind."""
    return {event.kind: event.names for event in events if isinstance(event, Inferred)}


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


FAMILIES = [
    pytest.param("config_by_exec.py", ["loss/backward"], id="settings replaced by exec"),
    pytest.param("argparse_tensorboard.py", ["loss/backward"], id="argparse and TensorBoard"),
    pytest.param("gan.py", ["loss/backward/optD", "loss/backward/optG"], id="GAN"),
    pytest.param("actor_critic.py", ["loss/backward"], id="actor and critic"),
    pytest.param("csv_summary.py", ["loss/backward"], id="scaler and CSV"),
    pytest.param("manual_updates.py", ["loss/backward"], id="no optimizer"),
    pytest.param("wandb_agent.py", ["loss/backward"], id="W&B agent", marks=needs("wandb")),
    pytest.param("hydra_app.py", ["loss/backward"], id="Hydra", marks=needs("hydra")),
    pytest.param("hf_trainer.py", ["loss/train", "loss/test"], id="Trainer", marks=needs("accelerate")),
    pytest.param("lightning_module.py", ["loss/train", "loss/test"], id="Lightning", marks=needs("lightning")),
    pytest.param("accelerate_loop.py", ["loss/backward"], id="accelerate", marks=needs("accelerate")),
    pytest.param("torchrun.py", ["loss/backward"], id="torchrun"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("script", "metrics"), FAMILIES)
def test_an_unmodified_script_records_what_it_records_with_the_lines_for_sweeper(
    tmp_path: Path, script: str, metrics: list[str]
) -> None:
    arguments = ["out"] if script in ("hf_trainer.py", "lightning_module.py", "accelerate_loop.py") else []
    command = TORCHRUN if script == "torchrun.py" else (sys.executable,)
    recorded = {}
    for with_lines in (False, True):
        path = adopted(tmp_path / str(with_lines), script, with_lines=with_lines)
        code, output, events = run(path, *arguments, command=command)
        assert code == 0, output
        assert [type(event) for event in events].count(Started) == 1
        assert [event.outcome for event in events if isinstance(event, Finished)] == ["completed"]
        recorded[with_lines] = events
    assert observations(recorded[False]) == observations(recorded[True])
    if script != "manual_updates.py":
        assert len(observations(recorded[False])) >= 2
        assert "step=0," in observations(recorded[False])[0]
    for name in metrics:
        assert metric(recorded[False], name) == pytest.approx(metric(recorded[True], name), rel=1e-6)
        assert len(metric(recorded[False], name)) >= 2
    assert not inferred(recorded[True])
    assert "watch: auto" not in notes(recorded[True])
    assert inferred(recorded[False]) or script == "manual_updates.py"
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
