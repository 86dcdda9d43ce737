"""Spikes: what is recorded of them, and which steps are skipped."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

import sweeper
from sweeper.errors import RecordError, UsageError
from sweeper.record.events import Event, Metrics, Noted, Observation, Spiked
from sweeper.record.facts import Facts
from sweeper.record.on_spike import OnSpike
from sweeper.record.progress import Progress, fold
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import TrialDir, read_json, write_json
from sweeper.worker.guard import Guard, gradient_norm
from sweeper.worker.spikes import (
    ELSEWHERE,
    FEWEST,
    GRADIENT_NORM,
    MOST_IN_A_ROW,
    MOST_SERIES,
    MOST_SHARE,
    RECORDED_SINGLY,
    UNGUARDED,
    Spikes,
)
from sweeper.worker.trial import GUARDED_LOSS

BAD = 150
"""The step with a corrupted batch."""
STEPS = 300


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialDir:
    trial = TrialDir(tmp_path / "run" / "trials" / "0000")
    trial.attempt(1).path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "acc", "maximize": True})
    monkeypatch.setenv("SWEEPER_TRIAL_DIR", str(trial.path))
    monkeypatch.setenv("SWEEPER_ATTEMPT", "1")
    return trial


def want(directory: TrialDir, action: str) -> None:
    write_json(directory.facts, {**read_json(directory.facts), "on_spike": action})


def events(directory: TrialDir, kind: type[Event]) -> list[Any]:
    return [event for event in read_journal(directory.attempt(1).events) if isinstance(event, kind)]


def progress(directory: TrialDir) -> Progress:
    return fold(read_journal(directory.attempt(1).events))


def batches(bad: Sequence[int] = (), *, steps: int = STEPS) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        given = torch.randn(32, 4, generator=generator)
        wanted = given.sum(1, keepdim=True) + 0.1 * torch.randn(32, 1, generator=generator)
        yield (given * 1000, wanted) if step in bad else (given, wanted)


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    return model, torch.optim.Adam(model.parameters(), lr=3e-3)


def train_with_guard(bad: Sequence[int] = (), *, watched: bool = True) -> float:
    """Train with `trial.guard` and return the mean loss of the last 20 steps."""
    model, optimizer = network()
    losses = []
    with sweeper.trial() as trial:
        if watched:
            trial.watch(model, optimizer)
        for step, (given, wanted) in enumerate(batches(bad)):
            loss = functional.mse_loss(model(given), wanted)
            loss.backward()
            if trial.guard(loss, model, step=step):
                optimizer.step()
            optimizer.zero_grad()
            trial.report({"loss/train": loss}, step=step)
            losses.append(loss.item())
    return sum(losses[-20:]) / 20


# ---- trainings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watched", [True, False])
def test_a_corrupted_batch_is_recorded_at_its_step_and_skipped(directory: TrialDir, *, watched: bool) -> None:
    want(directory, "skip")
    loss = train_with_guard([BAD], watched=watched)
    (spike,) = events(directory, Spiked)
    assert (spike.step, spike.action, spike.count, spike.skipped) == (BAD, "skip", 1, 1)
    assert spike.name in (GUARDED_LOSS, GRADIENT_NORM)
    assert spike.z > 100
    assert spike.z == pytest.approx((spike.value - spike.centre) / spike.scale)
    assert progress(directory).spikes_skipped == 1
    assert loss < 0.1


def test_a_skipped_step_keeps_the_loss_that_a_corrupted_batch_would_spoil(
    directory: TrialDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_steps = [BAD, BAD + 1, BAD + 2]
    recorded = train_with_guard(clean_steps)
    assert [event.action for event in events(directory, Spiked)] == ["record"] * 3
    other = TrialDir(tmp_path / "other" / "trials" / "0000")
    other.attempt(1).path.mkdir(parents=True)
    write_json(other.facts, {k: v for k, v in read_json(directory.facts).items() if k != "format"})
    monkeypatch.setenv("SWEEPER_TRIAL_DIR", str(other.path))
    want(other, "skip")
    skipped = train_with_guard(clean_steps)
    assert [event.action for event in events(other, Spiked)] == ["skip"] * 3
    assert skipped < recorded


def test_a_healthy_training_has_no_spike(directory: TrialDir) -> None:
    want(directory, "skip")
    train_with_guard()
    assert not events(directory, Spiked)


def test_a_skipped_step_counts_as_a_step_of_the_watch(directory: TrialDir) -> None:
    want(directory, "skip")
    train_with_guard([BAD])
    observed = events(directory, Observation)
    assert [event.step for event in observed] == list(range(0, STEPS, 10))
    assert {event.step: event.withheld for event in observed if event.withheld} == {BAD: 1}
    (at_spike,) = [event for event in observed if event.step == BAD]
    assert at_spike.skipped == 1
    assert math.isnan(at_spike.update_ratio)
    assert at_spike.gradient_norm > 1000
    assert progress(directory).skipped == 0, "the gradient scaler skipped none"


def test_reported_losses_are_tested_without_a_guard(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        for step in range(STEPS):
            loss = 1 + 0.1 * math.sin(step) + 50 * (step == BAD)
            trial.report({"loss/train": loss, "loss/test": 1e9 * (step % 100 == 99), "accuracy": loss}, step=step)
    (spike,) = events(directory, Spiked)
    assert (spike.step, spike.name, spike.action) == (BAD, "loss/train", "record")
    found = progress(directory)
    assert (found.spikes, found.spikes_skipped, found.newest_spikes) == (1, 0, (spike,))


def test_observed_gradient_norms_are_tested(directory: TrialDir) -> None:
    model, optimizer = network()
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        for given, wanted in batches([BAD]):
            optimizer.zero_grad()
            functional.mse_loss(model(given), wanted).backward()
            optimizer.step()
    assert events(directory, Spiked)[0].step == BAD
    assert events(directory, Spiked)[0].name == GRADIENT_NORM


def test_a_loss_and_a_gradient_of_one_step_are_one_spike() -> None:
    spikes = Spikes(OnSpike.RECORD)
    found = spikes.among([Metrics(step=0, values={"loss": math.nan})])
    assert len(found) == 1
    row = Observation(step=0, row=0, reach=1.0, update_ratio=1.0, learning_rate=1.0, gradient_norm=math.inf)
    assert not spikes.among([row])


def test_a_step_that_a_scaler_skipped_is_no_spike() -> None:
    row = Observation(step=0, row=0, reach=1.0, update_ratio=1.0, learning_rate=1.0, gradient_norm=math.inf, skipped=1)
    assert not Spikes(OnSpike.RECORD).among([row])


def test_off_looks_for_nothing(directory: TrialDir) -> None:
    want(directory, "off")
    train_with_guard([BAD])
    assert not events(directory, Spiked)


def test_rewind_says_so_in_the_event(directory: TrialDir) -> None:
    want(directory, "rewind")
    train_with_guard([BAD])
    assert events(directory, Spiked)[0].action == "rewind"


def test_a_spike_that_nothing_can_skip_has_a_note_once(directory: TrialDir) -> None:
    want(directory, "skip")
    with sweeper.trial() as trial:
        for step in range(3):
            trial.report({"loss": math.nan}, step=step)
    assert [event.text for event in events(directory, Noted)] == [UNGUARDED]
    assert {event.action for event in events(directory, Spiked)} == {"record"}


# ---- limits --------------------------------------------------------------------------------------------------------


def decided(spikes: Spikes, values: Iterable[float]) -> tuple[list[bool], list[Event]]:
    steps, recorded = [], []
    for step, value in enumerate(values):
        found = spikes.worst({"loss": value})
        may, new = spikes.decide(step, found, anywhere=found is not None)
        steps.append(may)
        recorded += new
    return steps, recorded


def test_not_more_than_a_few_steps_in_a_row_are_skipped() -> None:
    spikes = Spikes(OnSpike.SKIP)
    steps, recorded = decided(spikes, [math.nan] * (MOST_IN_A_ROW + 1))
    assert steps == [False] * MOST_IN_A_ROW + [True]
    assert spikes.exhausted
    assert len([event for event in recorded if isinstance(event, Noted)]) == 1


def test_not_more_than_a_share_of_the_steps_is_skipped() -> None:
    spikes = Spikes(OnSpike.SKIP)
    values = [math.inf if step % 10 == 0 else 1.0 for step in range(1000)]
    skipped = 0
    for step, value in enumerate(values):
        if spikes.exhausted:
            break
        found = spikes.worst({"loss": value})
        may, _ = spikes.decide(step, found, anywhere=found is not None)
        skipped += not may
    assert spikes.exhausted
    assert skipped == FEWEST
    assert MOST_SHARE * 1000 > FEWEST


def test_endless_spikes_do_not_fill_the_record_and_are_all_counted() -> None:
    spikes = Spikes(OnSpike.RECORD)
    recorded = [event for step in range(10_000) for event in spikes.recorded(step, {"loss": math.nan})]
    recorded += spikes.rest()
    assert len(recorded) < RECORDED_SINGLY + 20
    assert sum(event.count for event in recorded if isinstance(event, Spiked)) == 10_000
    assert not spikes.rest()


def test_the_number_of_tested_series_is_limited() -> None:
    spikes = Spikes(OnSpike.RECORD)
    spikes.worst({f"loss/{number}": 1.0 for number in range(MOST_SERIES)})
    assert spikes.worst({"loss/one_more": math.nan}) is None


def test_a_spike_of_another_rank_skips_the_step_here_too() -> None:
    spikes = Spikes(OnSpike.SKIP)
    may, (event,) = spikes.decide(3, None, anywhere=True)
    assert not may
    assert isinstance(event, Spiked)
    assert (event.name, event.step) == (ELSEWHERE, 3)


# ---- the setting ---------------------------------------------------------------------------------------------------


def test_an_unknown_setting_is_damage(directory: TrialDir) -> None:
    assert Facts.read(directory).on_spike == "record"
    want(directory, "perhaps")
    with pytest.raises(RecordError, match="expected one of record, skip, rewind, off, got 'perhaps'"):
        Facts.read(directory)


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), r"guard\(loss=...\): expected a number, got None"),
        ((1.0, 3), r"guard\(model=...\): expected a model or its parameters, got 3"),
        ((1.0, [3]), r"guard\(model=...\): expected a model or its parameters"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with sweeper.trial() as trial, pytest.raises(UsageError, match=message):
        trial.guard(*arguments, step=0)


# ---- the gradient norm, and the device -----------------------------------------------------------------------------


def test_the_gradient_norm_is_that_of_all_gradients() -> None:
    parameters = [torch.zeros(3), torch.zeros(2, 2, dtype=torch.bfloat16), torch.zeros(2), torch.zeros(0)]
    parameters[0].grad = torch.tensor([3.0, 0, 0])
    parameters[1].grad = torch.full((2, 2), 2.0, dtype=torch.bfloat16)
    parameters[3].grad = torch.zeros(0)
    norm = gradient_norm(parameters)
    assert norm is not None
    assert norm.item() == pytest.approx(5.0)
    scaled = gradient_norm(parameters, torch.tensor([4.0]))
    assert scaled is not None
    assert scaled.item() == pytest.approx(1.25)
    assert gradient_norm([torch.zeros(3)]) is None


class FakeRecorder:
    """A recorder whose outbox keeps the tensors, because there is no device that would compute them."""

    writes = True

    def __init__(self, action: OnSpike) -> None:
        self.spikes = Spikes(action)
        self.outbox = self
        self.sent: list[torch.Tensor | None] = []

    def put(self, tensor: torch.Tensor | None, _: object) -> None:
        self.sent.append(tensor)


def one_step(action: OnSpike) -> FakeRecorder:
    recorder: Any = FakeRecorder(action)
    with FakeTensorMode():
        parameter = torch.ones(4, device="cuda")
        parameter.grad = torch.ones(4, device="cuda")
        norm = gradient_norm([parameter])
        assert norm is not None
        loss = torch.ones((), device="cuda")
        assert Guard(recorder, None).may_step({"loss": loss, GRADIENT_NORM: norm}, step=0)  # type: ignore[arg-type]
    assert isinstance(recorder, FakeRecorder)
    return recorder


@pytest.mark.parametrize("action", [OnSpike.RECORD, OnSpike.REWIND])
def test_to_record_spikes_does_not_wait_for_the_device(action: OnSpike) -> None:
    (sent,) = one_step(action).sent
    assert sent is not None
    assert (sent.device.type, sent.shape) == ("cuda", (2,))


def test_to_skip_a_step_waits_for_the_device() -> None:
    with pytest.raises(Exception, match=r"_local_scalar_dense|FakeTensor"):
        one_step(OnSpike.SKIP)


# ---- several ranks -------------------------------------------------------------------------------------------------

TWO_RANKS = """
import sys
import torch
from torch import distributed
import sweeper
distributed.init_process_group("gloo")
rank = distributed.get_rank()
taken = []
with sweeper.trial() as trial:
    for step in range(4):
        loss = torch.tensor(float("nan") if rank == 1 and step == 2 else 1.0)
        taken.append(trial.guard(loss, step=step))
assert taken == [True, True, False, True], (rank, taken)
distributed.barrier()  # gloo aborts a rank that still uses a connection to one that has ended
distributed.destroy_process_group()
"""


def test_all_ranks_skip_a_step_if_one_has_a_spike(directory: TrialDir, tmp_path: Path) -> None:
    want(directory, "skip")
    script = tmp_path / "two.py"
    script.write_text(TWO_RANKS)
    root = Path(sweeper.__file__).parents[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    subprocess.run(launcher, check=True, env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"})
    (spike,) = events(directory, Spiked)
    assert (spike.step, spike.name, spike.action) == (2, ELSEWHERE, "skip")
