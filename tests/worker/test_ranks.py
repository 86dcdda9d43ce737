"""Several ranks in real processes, started by torchrun: which one writes, what it records, where they stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.record.events import Metrics, Observation, Watching
from sweeper.record.reader import read_row, read_trial
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State
from sweeper.worker.ranks import Ranks, is_first

MODEL = """
import os, signal, sys, json
import torch
from torch import distributed, nn
import sweeper

torch.manual_seed(0)
model = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(5)), nn.Linear(6, 1))
batch = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
"""


def run(folder: Path, body: str, *, ranks: int) -> None:
    script = folder / "train.py"
    script.write_text(MODEL + textwrap.dedent(body))
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--master-port=0"]
    launcher += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    done = subprocess.run(
        [*(launcher if ranks else [sys.executable]), str(script)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def record_of(folder: Path) -> tuple[Watching, list[tuple[Observation, dict[str, Any]]]]:
    (run,) = (folder / "runs").iterdir()
    attempt = SweepDir(run).trial(0).attempt(1)
    events = read_journal(attempt.events)
    (watching,) = [event for event in events if isinstance(event, Watching)]
    observations = []
    for event in events:
        if isinstance(event, Observation):
            row = read_row(attempt, event.row, watching.row_width)
            assert row is not None
            table = np.array(row[: watching.of_tensors]).reshape(-1, 8)
            observations.append((event, dict(zip(watching.tensors, table, strict=True))))
    return watching, observations


TRAIN = """
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
with sweeper.trial() as trial:
    trial.watch(model, optimizer, every=2)
    for step in range(4):
        loss = model(mine).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        trial.report({"loss/train": loss}, step=step)
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watching, list[tuple[Observation, dict[str, Any]]]]:
    """What one process records that sees the whole batch."""
    folder = tmp_path_factory.mktemp("alone")
    run(folder, "mine = batch\n" + textwrap.dedent(TRAIN), ranks=0)
    return record_of(folder)


@pytest.mark.parametrize("wrap", ["ddp", "fsdp2"])
def test_two_ranks_record_the_same_as_one_process(tmp_path: Path, alone: Any, wrap: str) -> None:
    """DDP: rank 0 has all of every tensor. FSDP2: each has a part of it, and of some tensors none."""
    wrapped = {
        "ddp": "model = nn.parallel.DistributedDataParallel(model)\n",
        "fsdp2": (
            "from torch.distributed.fsdp import fully_shard\n"
            "mesh = distributed.init_device_mesh('cpu', (2,))\n"
            "for layer in model: fully_shard(layer, mesh=mesh)\n"
            "fully_shard(model, mesh=mesh)\n"
        ),
    }[wrap]
    init = "distributed.init_process_group('gloo')\nmine = batch.chunk(2)[distributed.get_rank()]\n"
    end = "distributed.destroy_process_group()\n"
    run(tmp_path, init + wrapped + textwrap.dedent(TRAIN) + end, ranks=2)
    watching, observations = record_of(tmp_path)
    expected_watching, expected = alone
    assert (watching.layers, watching.tensors) == (expected_watching.layers, expected_watching.tensors)
    assert (watching.sizes, watching.left_out) == (expected_watching.sizes, expected_watching.left_out)
    assert [observation.step for observation, _ in observations] == [0, 2]
    for (observation, table), (wanted, wanted_table) in zip(observations, expected, strict=True):
        assert observation.reach == pytest.approx(wanted.reach, rel=1e-4)
        for name, values in wanted_table.items():
            np.testing.assert_allclose(table[name], values, rtol=1e-3, atol=1e-7)


def test_only_rank_0_writes(tmp_path: Path) -> None:
    body = """
    distributed.init_process_group("gloo")
    with sweeper.trial(defaults={"lr": 0.5}) as trial:
        assert trial.params["lr"] == 0.5
        trial.report({"rank": float(distributed.get_rank())}, step=0)
        trial.save({"rank": distributed.get_rank()}, step=0)
        trial.note("here")
    distributed.destroy_process_group()
    """
    run(tmp_path, body, ranks=2)
    (only,) = (tmp_path / "runs").iterdir()
    trial = read_trial(SweepDir(only).trial(0))
    assert trial.state is State.COMPLETE
    assert [e.values for e in read_journal(trial.attempt_dir.events) if isinstance(e, Metrics)] == [{"rank": 0.0}]
    assert len(list(trial.directory.checkpoints.iterdir())) == 1
    assert trial.progress.notes == ("here",)


def test_ranks_agree_on_the_step_they_stop_at(tmp_path: Path) -> None:
    """The stop reaches rank 1 alone, in the middle of a step of its own."""
    body = """
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    with sweeper.trial() as trial:
        for step in range(1000):
            distributed.all_reduce(torch.ones(1))
            if rank == 1 and step == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            if trial.should_save or trial.should_stop:
                trial.save({"step": step}, step=step)
            if trial.should_stop:
                break
    open(f"stopped-{rank}.json", "w").write(json.dumps(step))
    distributed.destroy_process_group()
    """
    run(tmp_path, body, ranks=2)
    steps = [json.loads((tmp_path / f"stopped-{rank}.json").read_text()) for rank in range(2)]
    assert steps == [7, 7]


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "1", "LOCAL_RANK": "1"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
    ],
)
def test_the_first_rank_is_read_from_the_launchers_variables(environment: dict[str, str], first: bool) -> None:
    assert is_first(environment) is first


def test_one_process_agrees_with_itself() -> None:
    assert Ranks().any(True, False) == [True, False]  # noqa: FBT003
