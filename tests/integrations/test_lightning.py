"""The callback in a real `lightning.pytorch.Trainer`."""

from __future__ import annotations

import enum
import functools
import inspect
import os
import pickle
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader

import sweeper
from sweeper.errors import CheckpointError
from sweeper.integrations import LightningCallback
from sweeper.record.checkpoints import saved_checkpoints
from sweeper.record.events import Checkpointed, Finished, Metrics, Noted, Observation, Plan, Resumed, Spiked
from sweeper.record.storage.layout import read_json, write_json
from sweeper.worker import opening
from tests.integrations.derived import Child, keep_healthy
from tests.integrations.record import Record, Tiny, examples, norms_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:The .srun. command is available"),  # as on a node of a Slurm cluster
]

ROWS: Any = examples()
EPOCH = len(ROWS) // 4


class Batches:
    """A data loader that says where it stands, as `torchdata.StatefulDataLoader` does, and random numbers with it."""

    def __init__(self) -> None:
        self.taken = 0
        self.skipped = 0
        self.random: torch.Tensor | None = None

    def __len__(self) -> int:
        return EPOCH

    def __iter__(self) -> Iterator[Any]:
        rows = list(DataLoader(ROWS, batch_size=4))
        self.taken, self.skipped = self.skipped, 0
        if self.random is not None:
            torch.set_rng_state(self.random)
            self.random = None
        while self.taken < EPOCH:
            self.taken += 1
            yield rows[self.taken - 1]

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken, "random": torch.get_rng_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.skipped = state["taken"] % EPOCH
        self.random = state["random"]


class Automatic(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = Tiny()

    def loss(self, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]).float(), batch[1])

    def training_step(self, batch: Any, _: int) -> torch.Tensor | None:
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("val_loss", self.loss(batch))
        self.log("val_acc", (self.net(batch[0]).argmax(-1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 5))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Manual(Automatic):
    """Two optimizers that take turns."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, _: int) -> None:
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        parts = (self.net.stack[:2], self.net.stack[2:])
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in parts]


class ByHand(Callback):
    """Looks at the gradients before they are clipped, and asks for a stop in some step, or batch."""

    def __init__(self, stop_at: int | None, stop_in_batch: int | None) -> None:
        self.stop_at = stop_at
        self.stop_in_batch = stop_in_batch
        self.norms: list[dict[str, float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.norms.append(norms_of(pl_module))
        if trainer.global_step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.stop_in_batch:
            os.kill(os.getpid(), signal.SIGTERM)


def train(
    record: Record,
    module: LightningModule,
    *,
    stop_at: int | None = None,
    stop_in_batch: int | None = None,
    every: int = 1,
    resume: str | None = None,
    test: bool = False,
    **options: Any,
) -> tuple[Trainer, ByHand]:
    """One attempt, resumed from the one before, or from a checkpoint of one's own."""
    record.next_attempt()
    by_hand = ByHand(stop_at, stop_in_batch)
    with sweeper.trial() as trial:
        callback = LightningCallback(trial, every=every)
        options = {"max_epochs": 3, "limit_val_batches": 0, "log_every_n_steps": 2, **options}
        trainer = Trainer(
            accelerator="cpu",
            callbacks=[callback, by_hand],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            **options,
        )
        trainer.fit(module, Batches(), DataLoader(ROWS, batch_size=4), ckpt_path=resume or callback.resume())
        if test:
            trainer.test(module, DataLoader(ROWS, batch_size=4), verbose=False)
    return trainer, by_hand


def fit(module: LightningModule, callback: LightningCallback, **options: Any) -> None:
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[callback, ByHand(options.pop("stop_at", None), None)],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=1,
        limit_val_batches=0,
    )
    trainer.fit(module, Batches(), DataLoader(ROWS, batch_size=4), **options)


def seeded(kind: type[Automatic] = Automatic) -> Automatic:
    torch.manual_seed(0)
    return kind()


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_observations_are_the_gradients_before_clipping(record: Record, accumulation: int, precision: Any) -> None:
    _, by_hand = train(
        record,
        seeded(),
        every=2,
        accumulate_grad_batches=accumulation,
        precision=precision,
        gradient_clip_val=0.1,
    )
    steps = 3 * EPOCH // accumulation
    (plan,) = record.events(Plan)
    assert (plan.total_steps, plan.peak_lr) == (steps, 0.01)
    assert len(by_hand.norms) == steps
    norms = record.gradient_norms()
    assert list(norms) == list(range(0, steps, 2))
    for step, tensors in norms.items():
        assert tensors == pytest.approx(by_hand.norms[step], rel=1e-4)
    assert not any(observation.clipped for observation in record.events(Observation))
    assert record.events(Finished)[0].outcome == "completed"


class Fused(Automatic):
    """An optimizer that is given scaled gradients, and unscales them itself."""

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=0.01, fused=True)


@pytest.mark.parametrize(("kind", "scale"), [(Automatic, 1.0), (Fused, 2.0**10)])
def test_scaled_gradients_are_observed_as_they_would_be_unscaled(
    record: Record, kind: type[Automatic], scale: float
) -> None:
    plain = Record(record.directory.path / "plain")
    train(plain, seeded(kind), max_steps=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    _, by_hand = train(record, seeded(kind), max_steps=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert {name: norm / scale for name, norm in by_hand.norms[0].items()} == pytest.approx(
        record.gradient_norms()[0], rel=1e-4
    )
    assert record.gradient_norms()[0] == pytest.approx(plain.gradient_norms()[0], rel=0.02)


def test_two_optimizers_of_manual_optimization_make_one_step(record: Record) -> None:
    _, by_hand = train(record, seeded(Manual))
    norms = record.gradient_norms()
    assert list(norms) == list(range(3 * EPOCH))
    for step, tensors in norms.items():  # each optimizer's tensors as they were before its own step
        first, second = by_hand.norms[2 * step : 2 * step + 2]
        own = {name: (first if name.startswith(("net.stack.0", "net.stack.1")) else second)[name] for name in tensors}
        assert tensors == pytest.approx(own, rel=1e-4)


def test_metrics_have_our_names_and_steps_from_zero(record: Record) -> None:
    train(record, seeded(), limit_val_batches=1.0)
    metrics = record.events(Metrics)
    trained = [event for event in metrics if "loss/train" in event.values]
    evaluated = [event for event in metrics if "loss/test" in event.values]
    assert [event.step for event in trained] == list(range(1, 3 * EPOCH, 2))
    assert [event.step for event in evaluated] == [EPOCH - 1, 2 * EPOCH - 1, 3 * EPOCH - 1]
    assert {name for event in evaluated for name in event.values} == {"loss/test", "accuracy/test"}


class WithHeldOut(Automatic):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.loss(batch))


def test_what_is_kept_for_the_end_decides_nothing(record: Record) -> None:
    record.rank_by("val_acc")
    train(record, WithHeldOut(), limit_val_batches=1.0, test=True)
    counts = Counter(name for event in record.events(Metrics) for name in event.values)
    assert counts["val_acc"] == 3
    assert counts["loss/test"] == 3
    assert {name for name in counts if "test" in name} == {"loss/test"}


class Forked(Automatic):
    """Logs each value of a step, and the mean of the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.losses.append(loss.item())
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("val_loss", self.loss(batch), on_step=True, on_epoch=True)


@pytest.mark.parametrize("cadence", [1, 2, 50])
def test_values_of_steps_and_means_of_epochs_are_never_in_one_series(record: Record, cadence: int) -> None:
    module = Forked()
    train(record, module, limit_val_batches=1.0, log_every_n_steps=cadence)
    series: dict[str, dict[int, float]] = {}
    for event in record.events(Metrics):
        for name, value in event.values.items():
            assert event.step not in series.setdefault(name, {})
            series[name][event.step] = value
    assert series.keys() == {"loss/train", "loss/train_epoch", "loss/test"}
    ends = [EPOCH - 1, 2 * EPOCH - 1, 3 * EPOCH - 1]
    steps = ends if cadence > EPOCH else range(cadence - 1, 3 * EPOCH, cadence)
    assert series["loss/train"] == pytest.approx({step: module.losses[step] for step in steps})
    means = {end: sum(module.losses[end + 1 - EPOCH : end + 1]) / EPOCH for end in ends}
    assert series["loss/train_epoch"] == pytest.approx(means)
    assert list(series["loss/test"]) == ends


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulation"])
def test_a_stopped_and_resumed_run_ends_where_an_undisturbed_one_does(record: Record, options: dict[str, Any]) -> None:
    undisturbed = seeded()
    train(Record(record.directory.path / "undisturbed"), undisturbed, **options)
    train(record, seeded(), stop_at=4, min_epochs=2, min_steps=7, **options)
    assert record.events(Finished)[0].outcome == "stopped"
    (checkpointed,) = record.events(Checkpointed)
    assert checkpointed.step == 4
    resumed = seeded()
    train(record, resumed, **options)
    assert [event.step for event in record.events(Resumed)] == [4]
    assert record.events(Observation)[0].step == 5
    assert record.events(Finished)[0].outcome == "completed"
    total = record.events(Plan)[0].total_steps
    assert [event.step for event in record.standing(Observation)] == list(range(total))
    for one, other in zip(undisturbed.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_manual_optimization_stops_and_goes_on(record: Record) -> None:
    train(record, seeded(Manual), stop_at=8)  # counted by Lightning: two a turn
    assert [event.step for event in record.events(Checkpointed)] == [4]
    train(record, seeded(Manual))
    assert [event.step for event in record.standing(Observation)] == list(range(3 * EPOCH))


def test_the_newest_two_checkpoints_are_kept(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([True, False, True, True])
    monkeypatch.setattr(sweeper.Trial, "should_save", property(lambda _: next(asked, False)))
    train(record, seeded())
    assert [event.step for event in record.events(Checkpointed)] == [0, 2, 3]
    names = sorted(path.name for path in (record.directory.path / "lightning").iterdir())
    assert names == ["step-000000002.ckpt", "step-000000003.ckpt"]


def test_a_missing_checkpoint_is_reported(record: Record) -> None:
    train(record, seeded(), stop_at=3)
    shutil.rmtree(record.directory.path / "lightning")
    with pytest.raises(CheckpointError, match="the checkpoint after step 3 does not exist"):
        train(record, seeded())


def test_the_handler_of_the_trial_is_put_back(record: Record) -> None:
    before = signal.getsignal(signal.SIGTERM)
    train(record, seeded(), max_epochs=1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_callback_opens_its_own_trial(record: Record) -> None:
    record.next_attempt()
    fit(seeded(), LightningCallback(every=1))
    assert len(record.events(Observation)) == EPOCH
    assert record.events(Finished) == []
    sweeper.start().finish()
    assert record.events(Finished)[0].outcome == "completed"


def test_an_evaluation_alone_opens_no_trial(record: Record) -> None:
    record.next_attempt()
    trainer = Trainer(accelerator="cpu", callbacks=[LightningCallback()], logger=False, enable_progress_bar=False)
    trainer.validate(seeded(), DataLoader(ROWS, batch_size=4), verbose=False)
    assert opening.current() is None


class Activation(enum.Enum):
    TANH = "tanh"


class Settings:
    """A user's class, with objects of other classes in it."""

    def __init__(self) -> None:
        self.activation = Activation.TANH
        self.path = Path("data")
        self.scale: Any = functools.partial(torch.mul, other=2)
        self.names = frozenset({"a"})


class Configured(Automatic):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.save_hyperparameters()


def test_a_resume_loads_hyperparameters_that_are_objects(record: Record) -> None:
    train(record, Configured(Settings()), stop_at=3)
    train(record, Configured(Settings()), max_epochs=1)
    assert [event.step for event in record.events(Resumed)] == [3]
    assert record.events(Finished)[0].outcome == "completed"


class Stateful(Automatic):
    """An object of a user's class in the checkpoint, which is no hyperparameter."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"] = Other()


class Other:
    pass


@pytest.mark.skipif("weights_only" not in inspect.signature(Trainer.fit).parameters, reason="before Lightning 2.6")
def test_what_to_write_for_other_objects_is_said(record: Record) -> None:
    train(record, Stateful(), stop_at=3)
    with pytest.raises(pickle.UnpicklingError) as error:
        train(record, Stateful())
    (note,) = record.events(Noted)
    assert error.value.__notes__ == [note.text]
    assert "write trainer.fit(..., ckpt_path=callback.resume(), weights_only=False)" in note.text
    record.next_attempt()
    with sweeper.trial() as trial:
        callback = LightningCallback(trial)
        fit(Stateful(), callback, ckpt_path=callback.resume(), weights_only=False)
    assert record.events(Finished)[0].outcome == "completed"


def test_a_stop_waits_for_the_end_of_an_accumulated_step(record: Record) -> None:
    train(record, seeded(), stop_in_batch=3, accumulate_grad_batches=3)
    assert [event.step for event in record.events(Checkpointed)] == [1]


def test_steps_are_counted_on_from_a_checkpoint_of_ones_own(record: Record) -> None:
    train(record, seeded(), stop_at=4)
    (mine,) = (record.directory.path / "lightning").iterdir()
    other = Record(record.directory.path / "other")
    train(other, seeded(), resume=str(mine))
    assert [event.step for event in other.events(Observation)] == list(range(5, 3 * EPOCH))


class Spoilt(Automatic):
    """One step has a loss a hundred thousand times as large."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[torch.Tensor] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor | None:
        self.weights.append(next(self.net.parameters()).detach().clone())
        loss = super().training_step(batch, index)
        assert loss is not None
        return loss * 1e5 if self.trainer.global_step == 100 else loss


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_step_with_a_spike_is_skipped(record: Record, clip: float | None) -> None:
    facts = record.directory.facts
    write_json(facts, {**read_json(facts), "on_spike": "skip"})
    module = Spoilt()
    train(record, module, max_epochs=20, gradient_clip_val=clip)
    (spike,) = record.events(Spiked)
    assert (spike.step, spike.action) == (100, "skip")
    assert torch.equal(module.weights[100], module.weights[101])
    assert not torch.equal(module.weights[101], module.weights[102])
    assert [event.step for event in record.events(Observation) if event.withheld] == [100]
    assert len(record.events(Observation)) == 120


class Rates(Callback):
    """The learning rate of each optimizer step, as the optimizer uses it."""

    def __init__(self) -> None:
        self.by_step: dict[int, float] = {}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.by_step[trainer.global_step] = optimizer.param_groups[0]["lr"]


def rates_of(record: Record, *, stop_at: int | None = None) -> dict[int, float]:
    """Train an attempt; return its learning rates."""
    record.next_attempt()
    rates = Rates()
    with sweeper.trial() as trial:
        callback = LightningCallback(trial)
        trainer = Trainer(
            accelerator="cpu",
            callbacks=[callback, rates, ByHand(stop_at, None)],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            max_epochs=3,
            limit_val_batches=0,
        )
        trainer.fit(seeded(), Batches(), DataLoader(ROWS, batch_size=4), ckpt_path=callback.resume())
    return rates.by_step


def test_kept_checkpoints_survive_those_that_the_callback_deletes(record: Record) -> None:
    keep_healthy(record, 2, every_steps=2)
    rates_of(record)
    saved = saved_checkpoints(record.directory)
    assert len(saved) == 4
    assert [one.points_to for one in saved] == [f"kept/step-{one.step:09d}.ckpt" for one in saved]
    assert len(list((record.directory.path / "lightning").iterdir())) == 2
    assert len(list((record.directory.path / "kept").iterdir())) == 4


def test_a_derived_trial_goes_on_from_the_checkpoint_with_its_own_rate(record: Record) -> None:
    keep_healthy(record, 8, every_steps=2)
    before = rates_of(record)
    child = Child(record, step=3, lr_factor=0.25, changes={"lr": 0.0025})
    assert child.derived.step == 3
    first = rates_of(child, stop_at=9)
    second = rates_of(child)  # another attempt changes nothing again
    assert [event.step for event in child.events(Resumed)] == [9]
    assert [*first, *second] == list(range(4, 3 * EPOCH))
    assert {**first, **second} == pytest.approx({step: rate * 0.25 for step, rate in before.items() if step > 3})
