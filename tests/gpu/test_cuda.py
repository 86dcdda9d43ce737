"""What only a CUDA device can show: nothing waits for it, its statistics are the CPU's, memory stays within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

import sweeper
from sweeper.record.events import Metrics, Observation, Watching
from sweeper.record.reader import read_row
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def stack(*, width: int = 64, depth: int = 8) -> Any:
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)))


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def train(device: str, *, steps: int, every: int, **options: Any) -> None:
    torch.manual_seed(0)
    model = stack().to(device)
    batch = torch.randn(16, 64, generator=torch.Generator().manual_seed(1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device == "cuda")
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=every, **options)
        for step in range(steps):
            loss = model(batch).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            trial.report({"loss/train": loss, "learning_rate": 1e-3}, step=step)


def tables() -> list[npt.NDArray[np.float64]]:
    (run,) = Path("runs").iterdir()
    attempt = SweepDir(run).trial(0).attempt(1)
    events = read_journal(attempt.events)
    (watching,) = [event for event in events if isinstance(event, Watching)]
    width = len(watching.statistics) * len(watching.tensors)
    rows = [read_row(attempt, event.row, width) for event in events if isinstance(event, Observation)]
    return [np.array(row).reshape(len(watching.tensors), -1) for row in rows]


def test_nothing_waits_for_the_device_in_100_steps() -> None:
    model = stack().cuda()
    batch = torch.randn(16, 64, device="cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        for step in range(103):
            with no_waiting():
                loss = model(batch).square().mean()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                trial.report({"loss/train": loss, "gradient/norm": norm, "learning_rate": 1e-3}, step=step)
    (run,) = Path("runs").iterdir()
    events = read_journal(SweepDir(run).trial(0).attempt(1).events)
    assert [event.step for event in events if isinstance(event, Observation)] == list(range(103))
    assert [event.step for event in events if isinstance(event, Metrics)] == list(range(103))


def test_statistics_are_those_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        (tmp_path / device).mkdir()
        monkeypatch.chdir(tmp_path / device)
        train(device, steps=1, every=1)
        (found[device],) = tables()
    np.testing.assert_allclose(found["cuda"][:, :6], found["cpu"][:, :6], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_statistics_equal_the_oracle(dtype: torch.dtype, tolerance: float) -> None:
    model = stack().to("cuda", dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        model(torch.randn(16, 64, device="cuda", dtype=dtype)).square().sum().backward()
        weights = [p for p in model.parameters() if p.dim() > 1]
        gradients = [p.grad.double().abs().cpu().numpy() for p in weights]
        before = [p.detach().double().cpu().numpy() for p in weights]
        optimizer.step()
        after = [p.detach().double().cpu().numpy() for p in weights]
    (table,) = tables()
    for row, gradient, old, new in zip(table, gradients, before, after, strict=True):
        norm, update = np.linalg.norm(old), np.linalg.norm(new - old)
        expected = [gradient.mean(), gradient.max(), gradient.std(), (gradient == 0).mean(), np.linalg.norm(gradient)]
        np.testing.assert_allclose(row, [*expected, norm, update, update / norm], rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize(("kind", "most"), [("full", 1.05), ("reach", 0.01)])
def test_extra_memory_is_bounded(kind: Literal["full", "reach"], most: float) -> None:
    model = stack(width=2048, depth=8).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    size = sum(p.numel() * p.element_size() for p in model.parameters() if p.dim() > 1)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1, statistics=kind)
        model(torch.randn(4, 2048, device="cuda")).sum().backward()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        optimizer.step()
        assert torch.cuda.max_memory_allocated() - before <= most * size


@pytest.mark.parametrize("fused", [False, True])
def test_under_a_gradient_scaler_in_fp16(fused: bool) -> None:
    model = stack().cuda()
    batch = torch.randn(16, 64, device="cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cuda")
    norms = []
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=2)
        for step in range(4):
            with torch.autocast("cuda", dtype=torch.float16):
                loss = model(batch).float().square().mean() * (math.inf if step == 1 else 1.0)
            scaler.scale(loss).backward()
            norms.append(model[0][0].weight.grad.double().norm().item() / scaler.get_scale())
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    (run,) = Path("runs").iterdir()
    observations = [
        event for event in read_journal(SweepDir(run).trial(0).attempt(1).events) if isinstance(event, Observation)
    ]
    assert [observation.step for observation in observations] == [0, 2]
    assert [observation.skipped for observation in observations] == [0, 1]
    for table, step in zip(tables(), (0, 2), strict=True):
        assert table[0, 4] == pytest.approx(norms[step], rel=1e-3)


def test_a_captured_optimizer_with_its_learning_rate_on_the_device() -> None:
    model = stack().cuda()
    rate = torch.tensor(3e-4, device="cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, capturable=True, foreach=True)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        model(torch.randn(4, 64, device="cuda")).sum().backward()
        with no_waiting():
            optimizer.step()
    (run,) = Path("runs").iterdir()
    (observation,) = [
        event for event in read_journal(SweepDir(run).trial(0).attempt(1).events) if isinstance(event, Observation)
    ]
    assert observation.learning_rate == pytest.approx(3e-4)


def test_tensors_on_two_devices() -> None:
    model = nn.Sequential(stack().cuda(), stack())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        model[1](model[0](torch.randn(4, 64, device="cuda")).cpu()).sum().backward()
        optimizer.step()
    (table,) = tables()
    assert np.isfinite(table).all()
