"""sweeper in a `transformers.Trainer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sweeper.integrations.names import metric_name
from sweeper.integrations.pointer import point_to, pointed_to
from sweeper.worker.trial import Trial
from sweeper.worker.watch.watch import Watch


class HuggingFaceCallback(TrainerCallback):
    """Watches a Trainer's model, reports what it logs, and ends training where the trial is asked to stop.

        callback = HuggingFaceCallback(trial)
        arguments = TrainingArguments(output_dir=trial.dir / "trainer", save_total_limit=2, ...)
        Trainer(model, arguments, callbacks=[callback], ...).train(resume_from_checkpoint=callback.resume())

    Under several ranks each has one. The gradients are those that the optimizer is given, after clipping. Steps are
    optimizer steps from 0: what Trainer logs at `global_step` 10 is of step 9. Metrics are named as in `names`: `loss`
    is `loss/train`, `eval_loss` is `loss/test`, `grad_norm` is `gradient/norm`; durations, throughput and the summary
    at the end of training are left out.

    Trainer's own checkpoints are what a resumed attempt goes on from, at its own cadence, at the sweep's, and where it
    is stopped. Trainer deletes them by `save_total_limit`, which should leave two or more.
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
        self._trial = trial
        self._options: dict[str, Any] = {
            "every": every,
            "statistics": statistics,
            "layers": layers,
            "include_bias": include_bias,
        }
        self._watch: Watch | None = None
        self._stopping = False
        self._saved = 0

    def resume(self) -> str | None:
        """What to call `Trainer.train(resume_from_checkpoint=...)` with: None at a first start.

        Raises:
            CheckpointError: the checkpoint that the record names is not there.
        """
        path = pointed_to(self._trial)
        return None if path is None else str(path)

    # ---- what Trainer calls -----------------------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimizer exists, and a checkpoint has been loaded."""
        self._trial.plan(total_steps=state.max_steps, peak_lr=args.learning_rate)
        self._trial.next_step = state.global_step
        self._watch = self._trial.watch(kwargs["model"], kwargs["optimizer"], **self._options)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Training, evaluation or the script logged."""
        if logs is None or "train_runtime" in logs:  # the summary: its train_loss is a mean over all steps
            return
        values = {metric_name(name): value for name, value in logs.items() if _is_metric(name, value)}
        if values:
            self._trial.report(values, step=max(0, state.global_step - 1))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An optimizer step is over; on every rank, which agree here on saving and stopping."""
        self._stopping = self._trial.should_stop
        if self._stopping:
            control.should_training_stop = True
        if self._trial.should_save:  # by cadence, or because of the stop
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An epoch is over, or was left because of a stop: then what is due at the end of an epoch is not yet due."""
        if self._stopping:
            if not float(state.epoch or 0).is_integer():
                control.should_evaluate = False
            control.should_save = self._saved != state.global_step

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Trainer wrote a checkpoint."""
        self._saved = state.global_step
        if not args.save_only_model:  # from weights alone nothing can go on
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            point_to(self._trial, folder, step=state.global_step - 1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Training is over."""
        if self._watch is not None:
            self._watch.close()


def _is_metric(name: str, value: object) -> bool:
    """Whether it says how well the model does, and not how fast, or where in the data."""
    is_about_time = name == "epoch" or name.endswith(("_runtime", "_per_second", "_time"))
    return isinstance(value, int | float) and not is_about_time
