"""Run the scripts of `scripts/` unmodified, or with the lines for sweeper, and read what they record.

In `scripts/`, the lines after `# sweeper: ` are those that a user would add. Without them the script is unmodified.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.record.events import Event, Inferred, Metrics, Noted, Observation
from sweeper.record.storage.journal import read_journal
from tests.end_to_end.test_sweeps import PATIENCE_S, ROOT

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
    """Start the script with `sweeper exec` in its folder."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A way of writing training scripts, and a script in that way.

    Attributes:
        name: the name of the family.
        script: the file in `scripts/`.
        losses: the metrics that are equal with and without the lines for sweeper.
        arguments: the arguments of the script.
        command: the words before the script.
        packages: what has to be installed.
        unseen: what is not recorded without changes to the script.
    """

    name: str
    script: str
    losses: tuple[str, ...] = ("loss/backward",)
    arguments: tuple[str, ...] = ()
    command: tuple[str, ...] = (sys.executable,)
    packages: tuple[str, ...] = ()
    unseen: str = ""


FAMILIES = (
    Family(name="settings replaced by exec", script="config_by_exec.py", unseen="planned steps"),
    Family(name="argparse, TensorBoard", script="argparse_tensorboard.py", unseen="planned steps"),
    Family(
        name="W&B agent, no arguments", script="wandb_agent.py", packages=("wandb",), unseen="planned steps, images"
    ),
    Family(name="Hydra", script="hydra_app.py", packages=("hydra",), unseen="planned steps"),
    Family(
        name="transformers.Trainer",
        script="hf_trainer.py",
        losses=("loss/train", "loss/test"),
        arguments=("out",),
        packages=("accelerate",),
        unseen="nothing",
    ),
    Family(
        name="Lightning",
        script="lightning_module.py",
        losses=("loss/train", "loss/test"),
        arguments=("out",),
        packages=("lightning",),
        unseen="nothing",
    ),
    Family(
        name="accelerate",
        script="accelerate_loop.py",
        arguments=("out",),
        packages=("accelerate",),
        unseen="planned steps",
    ),
    Family(name="scaler, CSV summary", script="csv_summary.py", unseen="planned steps; the CSV file: see `metrics`"),
    Family(
        name="GAN, two optimizers",
        script="gan.py",
        losses=("loss/backward/optD", "loss/backward/optG"),
        unseen="planned steps",
    ),
    Family(
        name="actor and critic", script="actor_critic.py", unseen="planned steps; the return, if it is only printed"
    ),
    Family(name="torchrun, two ranks", script="torchrun.py", command=TORCHRUN, unseen="losses of other ranks"),
    Family(name="children that train (hogwild)", script="hogwild.py", losses=(), unseen="all children but one"),
    Family(name="updates by hand", script="manual_updates.py", unseen="gradients, updates, layers"),
)
