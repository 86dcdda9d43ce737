"""The callback for `lightning.pytorch.Trainer`."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from sweeper.integrations.lightning_checkpoint import WEIGHTS_ONLY, allow_hyperparameters, is_refused
from sweeper.integrations.lightning_metrics import Logged
from sweeper.integrations.own_trial import OwnTrial
from sweeper.integrations.pointer import change_restored, point_to, pointed_to
from sweeper.worker.guard import Guard, gradient_norm
from sweeper.worker.ranks import Ranks
from sweeper.worker.spikes import GRADIENT_NORM
from sweeper.worker.trial import GUARDED_LOSS, Trial, recorder_of
from sweeper.worker.watch.watch import Watch

KEPT = 2
"""Number of Lightning checkpoints that are kept."""


class LightningCallback(Callback):
    """Watch a LightningModule, report what it logs, and stop the Trainer when the trial should stop.

    With several ranks, each rank has a callback. Gradients are recorded before clipping. Steps are optimizer steps from
    0; with several optimizers, one step is one turn of all of them. Logged metrics are reported every
    `log_every_n_steps` steps and after each evaluation and epoch, under sweeper's names: `train_loss` becomes
    `loss/train`, `val_acc` becomes `accuracy/test`. The sweep's metric may also be the logged name, which is then kept:
    `metric: {name: val_acc, goal: maximize}`. What `Trainer.test` logs is not reported.

    A checkpoint is written to `trial.dir / "lightning"` after each `checkpoint.every_minutes` of the sweep, and before
    the Trainer stops. Lightning does not save the position in an epoch, unless the data loader has a `state_dict`.

    The value of a step is reported as `loss/train`, and the mean of an epoch that Lightning computes of the same metric
    (`self.log(..., on_step=True, on_epoch=True)`) as `loss/train_epoch`.

    With `on_spike: skip` in the sweep file, the loss and the gradient norm of each step are tested before it, and a
    step with a spike changes nothing.

    Without an argument, the callback opens the trial of the process, as `sweeper.start` does, when the training begins
    or `resume` is called, unless it is open. The trial then ends when the process exits.

    Args:
        trial: the open trial; without it, the callback opens one itself.
        every: number of optimizer steps from one observation to the next.
        statistics: `full`, or `reach` for gradient norms only.
        layers: patterns of the tensors to watch; by default, all are watched.
        include_bias: whether to watch biases too.

    Raises:
        ImportError: lightning is not installed (raised by the import of the class).
        UsageError: `trial` is not an open trial.

    Example:
        ::

            with sweeper.trial() as trial:
                callback = LightningCallback(trial)
                trainer = Trainer(max_epochs=3, callbacks=[callback])
                trainer.fit(module, ckpt_path=callback.resume())

        Without an own trial, as in a configuration of Hydra (`_target_: sweeper.integrations.LightningCallback`)::

            trainer = Trainer(max_epochs=3, callbacks=[LightningCallback()])
            trainer.fit(module)
    """

    def __init__(
        self,
        trial: Trial | None = None,
        *,
        every: int = 10,
        statistics: Literal["full", "reach"] = "full",
        layers: Sequence[str] | None = None,
        include_bias: bool = False,
    ) -> None:
        """Keep the options for `Trial.watch`, which is called once the optimizers exist."""
        super().__init__()
        self._own = OwnTrial(trial, "LightningCallback")
        self._options: dict[str, Any] = {
            "every": every,
            "statistics": statistics,
            "layers": layers,
            "include_bias": include_bias,
        }
        self._watch: Watch | None = None
        self._steps_seen = 0
        self._logged = Logged()
        self._resumes = False
        self._guard: Guard | None = None
        self._loss: torch.Tensor | None = None

    @property
    def _trial(self) -> Trial:
        return self._own.trial

    def resume(self) -> str | None:
        """Return the argument for `Trainer.fit(ckpt_path=...)`.

        The checkpoint may have hyperparameters (`save_hyperparameters()`) that are objects of your classes. If it has
        objects elsewhere, Lightning 2.6 needs `weights_only=False` too.

        Returns:
            The path of the newest checkpoint; None on the first start.

        Raises:
            CheckpointError: the checkpoint that the record points to does not exist.

        Example:
            ``trainer.fit(module, ckpt_path=callback.resume())``
        """
        path = pointed_to(self._own.open())
        self._resumes = path is not None
        return None if path is None else str(path)

    # ---- what Lightning calls ---------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the trial before a checkpoint is loaded, and let the checkpoint have the module's hyperparameters."""
        if stage == "fit":
            self._own.open()
            if self._resumes:
                allow_hyperparameters(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """If Lightning refused the checkpoint, say what to write."""
        if self._resumes and is_refused(exception):
            exception.add_note(WEIGHTS_ONLY)
            self._trial.note(WEIGHTS_ONLY)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM back, in the first hook after Lightning has set its signal handlers."""
        self._take_back_sigterm()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start watching: the optimizers exist, and the checkpoint has been loaded."""
        self._take_back_sigterm()
        if pl_module.automatic_optimization:  # otherwise only the module knows its number of steps
            total_steps = trainer.estimated_stepping_batches
            if math.isfinite(total_steps):
                self._trial.plan(total_steps=int(total_steps), peak_lr=_peak_lr(trainer.optimizers))
            self._trial.next_step = trainer.global_step
        self._steps_seen = self._trial.next_step
        change_restored(self._trial, trainer.optimizers, [one.scheduler for one in trainer.lr_scheduler_configs])
        self._watch = self._trial.watch(pl_module, trainer.optimizers, **self._options)
        guard = Guard(recorder_of(self._trial), Ranks())
        self._guard = guard if guard.may_skip else None

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Add up the losses of a step, if it may be skipped."""
        if self._guard is not None:
            value = loss.detach()
            self._loss = value if self._loss is None else self._loss + value

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Record the gradients before they are clipped, and skip the step if it has a spike."""
        if self._watch is None:
            return
        self._watch.look()
        if self._guard is not None:
            inner = getattr(optimizer, "optimizer", optimizer)
            parameters = [parameter for group in inner.param_groups for parameter in group["params"]]
            values = {GUARDED_LOSS: self._loss, GRADIENT_NORM: gradient_norm(parameters)}
            self._loss = None
            known = {name: value for name, value in values.items() if value is not None}
            if not self._guard.may_step(known, step=self._trial.next_step):
                self._watch.withhold(inner)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """After the last batch of an optimizer step, report, save or stop. All ranks agree on saving and stopping."""
        if self._trial.next_step == self._steps_seen:  # gradients are being accumulated
            return
        self._steps_seen = self._trial.next_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning does not declare it
        if every and self._steps_seen % every == 0:
            self._report(trainer)
        stop = self._trial.should_stop
        if self._trial.should_save:
            self._save(trainer)
        if stop:
            trainer.should_stop = True
            # Otherwise training would continue until these minimums are reached.
            trainer.fit_loop.min_epochs = None
            trainer.fit_loop.epoch_loop.min_steps = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metrics of an evaluation."""
        if not trainer.sanity_checking and self._own.known is not None:
            self._report(trainer, evaluation=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metrics that Lightning computes at the end of an epoch."""
        self._report(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the last metrics, and stop watching."""
        self._report(trainer)
        if self._watch is not None:
            self._watch.close()

    # -----------------------------------------------------------------------------------------------------------------

    def _report(self, trainer: Trainer, *, evaluation: bool = False) -> None:
        """Report the metrics that were logged since the last report."""
        metric, *others = recorder_of(self._trial).facts.ranking
        values = self._logged.fresh(trainer.callback_metrics, evaluation=evaluation, metric=metric, others=others)
        if values and self._trial.next_step > 0:
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
        """Replace Lightning's SIGTERM handler, which raises an exception, by the trial's, which waits for the step."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, recorder_of(self._trial).request_stop)  # Lightning restores the previous one


def _peak_lr(optimizers: Sequence[torch.optim.Optimizer]) -> float | None:
    """Return the peak learning rate of the schedulers, which they keep in the optimizers' parameter groups."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group.get("max_lr", group.get("initial_lr", group.get("lr"))) for group in groups]
    return max((float(rate) for rate in rates if rate is not None), default=None)
