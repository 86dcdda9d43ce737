"""sweeper in a `lightning.pytorch.Trainer`."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from sweeper.integrations.names import metric_name
from sweeper.integrations.pointer import point_to, pointed_to
from sweeper.worker.trial import Trial
from sweeper.worker.watch.watch import Watch

KEPT = 2


class LightningCallback(Callback):
    """Watches a LightningModule, reports what it logs, and ends training where the trial is asked to stop.

        callback = LightningCallback(trial)
        trainer = Trainer(callbacks=[callback], ...)
        trainer.fit(module, ckpt_path=callback.resume())

    Under several ranks each has one. The gradients are those before clipping. Steps are optimizer steps from 0, with
    several optimizers turns of all of them. What the module logs is reported every `log_every_n_steps` steps and where
    an evaluation or an epoch ends, named as in `names`: `train_loss` is `loss/train`, `val_acc` is `accuracy/test`.

    A checkpoint is written below `trial.dir / "lightning"` at the sweep's cadence and where the trial is stopped.
    Lightning does not say where in an epoch the data stood, unless the data loader can (`state_dict`).
    """

    def __init__(
        self,
        trial: Trial,
        *,
        every: int = 10,
        statistics: Literal["full", "reach"] = "full",
        layers: Sequence[str] | None = None,
        include_bias: bool = False,
    ) -> None:
        """The options are those of `Trial.watch`."""
        super().__init__()
        self._trial = trial
        self._options: dict[str, Any] = {
            "every": every,
            "statistics": statistics,
            "layers": layers,
            "include_bias": include_bias,
        }
        self._watch: Watch | None = None
        self._steps_seen = 0
        self._reported: dict[str, torch.Tensor] = {}

    def resume(self) -> str | None:
        """What to call `Trainer.fit(ckpt_path=...)` with: None at a first start.

        Raises:
            CheckpointError: the checkpoint that the record names is not there.
        """
        path = pointed_to(self._trial)
        return None if path is None else str(path)

    # ---- what Lightning calls ---------------------------------------------------------------------------------------

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first hook after Lightning took the signals."""
        self._take_back_sigterm()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimizers exist, and a checkpoint has been loaded."""
        self._take_back_sigterm()
        if pl_module.automatic_optimization:  # else only the module knows when it steps
            total_steps = trainer.estimated_stepping_batches
            if math.isfinite(total_steps):
                self._trial.plan(total_steps=int(total_steps), peak_lr=_peak_lr(trainer.optimizers))
            self._trial.next_step = trainer.global_step
        self._steps_seen = self._trial.next_step
        self._watch = self._trial.watch(pl_module, trainer.optimizers, **self._options)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The gradients are complete, and not yet clipped."""
        if self._watch is not None:
            self._watch.look()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """A batch is over; where it ended a step, the ranks agree here on saving and stopping."""
        if self._trial.next_step == self._steps_seen:  # gradients are being accumulated
            return
        self._steps_seen = self._trial.next_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set where its types do not see it
        if every and self._steps_seen % every == 0:
            self._report(trainer)
        stop = self._trial.should_stop
        if self._trial.should_save:
            self._save(trainer)
        if stop:
            trainer.should_stop = True
            # These would let training go on until it is killed.
            trainer.fit_loop.min_epochs = None
            trainer.fit_loop.epoch_loop.min_steps = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation is over."""
        if not trainer.sanity_checking:
            self._report(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch is over."""
        self._report(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training is over."""
        self._report(trainer)
        if self._watch is not None:
            self._watch.close()

    # -----------------------------------------------------------------------------------------------------------------

    def _report(self, trainer: Trainer) -> None:
        """Report what was logged since the last report."""
        metrics = trainer.callback_metrics
        fresh = {name: value for name, value in metrics.items() if not _is_same(value, self._reported.get(name))}
        self._reported.update(fresh)
        if fresh and self._trial.next_step > 0:
            values = {metric_name(name): value for name, value in fresh.items()}
            self._trial.report(values, step=self._trial.next_step - 1)

    def _save(self, trainer: Trainer) -> None:
        folder = self._trial.dir / "lightning"
        step = self._trial.next_step - 1
        path = folder / f"step-{step:09d}.ckpt"
        trainer.save_checkpoint(path)
        point_to(self._trial, path, step=step)
        for old in sorted(folder.glob("step-*.ckpt"), reverse=True)[KEPT:]:
            trainer.strategy.remove_checkpoint(old)

    def _take_back_sigterm(self) -> None:
        """Lightning's handler leaves training by an exception, wherever it is; the trial's waits for the step."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._trial.ask_to_stop)  # Lightning itself puts back what it found


def _is_same(value: torch.Tensor, reported: torch.Tensor | None) -> bool:
    """Whether a metric is still the one that was reported: what is logged anew lies elsewhere in memory."""
    return reported is not None and value.data_ptr() == reported.data_ptr()


def _peak_lr(optimizers: Sequence[torch.optim.Optimizer]) -> float | None:
    """The highest learning rate that the schedulers mean to reach; they keep it with the parameters."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group.get("max_lr", group.get("initial_lr", group.get("lr"))) for group in groups]
    return max((float(rate) for rate in rates if rate is not None), default=None)
