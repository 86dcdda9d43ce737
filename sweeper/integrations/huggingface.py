"""The callback for `transformers.Trainer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sweeper.integrations.names import Names, own_name
from sweeper.integrations.own_trial import OwnTrial
from sweeper.integrations.pointer import change_restored, point_to, pointed_to, unshare
from sweeper.record.on_spike import OnSpike
from sweeper.worker.trial import Trial, recorder_of
from sweeper.worker.watch.watch import Watch

NO_SKIP = (
    "on_spike: skip: transformers.Trainer gives a callback neither the loss nor the gradient before clipping, so its "
    "steps are not skipped. Spikes of the values that it logs are recorded"
)

OTHER_SEED = (
    "the trial has seed {trial}, but Trainer takes the order of the data and dropout from seed {own}: give "
    "TrainingArguments seed=trial.seed, or write --seed=${{trial:seed}} in the command"
)


class HuggingFaceCallback(TrainerCallback):
    """Watch the model of a `transformers.Trainer`, report its metrics, and stop it when the trial should stop.

    With several ranks, each rank has a callback. Gradients are recorded after clipping, as the optimizer receives them.
    Steps are optimizer steps from 0: what Trainer logs at `global_step` 10 belongs to step 9.

    Metrics get sweeper's names: `loss` becomes `loss/train`, `eval_loss` becomes `loss/test`, `grad_norm` becomes
    `gradient/norm`. If the sweep's metric is one of Trainer's names, such as `eval_loss`, that name is kept. What is
    evaluated with `metric_key_prefix="test"` keeps its name too if another set is evaluated during the training.
    Durations, throughput and the summary at the end of training are not reported.

    `on_spike: skip` is not possible, because Trainer gives a callback neither the loss nor the gradient before
    clipping. The record says so, and spikes of the values that Trainer logs are recorded.

    A resumed attempt starts from Trainer's own checkpoints. Trainer writes them on its own schedule, after each
    `checkpoint.every_minutes` of the sweep, and before it stops. Its `save_total_limit` should be 2 or more.

    Without an argument, the callback opens the trial of the process, as `sweeper.start` does, when the training begins
    or `resume` is called, unless it is open. The trial then ends when the process exits.

    Args:
        trial: the open trial; without it, the callback opens one itself.
        every: number of optimizer steps from one observation to the next.
        statistics: `full`, or `reach` for gradient norms only.
        layers: patterns of the tensors to watch; by default, all are watched.
        include_bias: whether to watch biases too.

    Raises:
        ImportError: transformers is not installed (raised by the import of the class).
        UsageError: `trial` is not an open trial.

    Example:
        ::

            with sweeper.trial() as trial:
                callback = HuggingFaceCallback(trial)
                arguments = TrainingArguments(output_dir=trial.dir / "trainer", save_total_limit=2)
                trainer = Trainer(model, arguments, train_dataset=data, callbacks=[callback])
                trainer.train(resume_from_checkpoint=callback.resume())

        Without an own trial::

            trainer = Trainer(model, arguments, train_dataset=data, callbacks=[HuggingFaceCallback()])
            trainer.train()
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
        """Keep the options for `Trial.watch`, which is called once the optimizer exists."""
        self._own = OwnTrial(trial, "HuggingFaceCallback")
        self._options: dict[str, Any] = {
            "every": every,
            "statistics": statistics,
            "layers": layers,
            "include_bias": include_bias,
        }
        self._watch: Watch | None = None
        self._names = Names()
        self._stopping = False
        self._saved = 0

    @property
    def _trial(self) -> Trial:
        return self._own.trial

    def resume(self) -> str | None:
        """Return the argument for `Trainer.train(resume_from_checkpoint=...)`.

        Returns:
            The folder of the newest checkpoint; None on the first start.

        Raises:
            CheckpointError: the checkpoint that the record points to does not exist.

        Example:
            ``trainer.train(resume_from_checkpoint=callback.resume())``
        """
        path = pointed_to(self._trial)
        return None if path is None else str(path)

    # ---- what Trainer calls -----------------------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start watching: the optimizer exists, and the checkpoint has been loaded."""
        self._own.open()
        self._trial.plan(total_steps=state.max_steps, peak_lr=args.learning_rate)
        self._trial.next_step = state.global_step
        change_restored(self._trial, [kwargs["optimizer"]], [kwargs["lr_scheduler"]])
        later = (one for one in Path(str(args.output_dir)).glob("checkpoint-*") if _step_of(one) > state.global_step)
        unshare(self._trial, later)  # Trainer writes into the files of a checkpoint that exists
        self._watch = self._trial.watch(kwargs["model"], kwargs["optimizer"], **self._options)
        if recorder_of(self._trial).spikes.action is OnSpike.SKIP:
            self._trial.note(NO_SKIP)
        if self._trial.seed not in (0, args.seed, args.data_seed):  # 0 is also the seed of a sweep that does not care
            self._trial.note(OTHER_SEED.format(trial=self._trial.seed, own=args.seed))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Report the metrics that training, evaluation or the script logged."""
        if logs is None or "train_runtime" in logs:  # the summary: its train_loss is a mean over all steps
            return
        ranking, evaluates = recorder_of(self._trial).facts.ranking, args.eval_strategy != "no"
        values = {
            self._names.recorded(name, metric=own_name(name, ranking), evaluates=evaluates): value
            for name, value in logs.items()
            if _is_metric(name, value)
        }
        if values:
            self._trial.report(values, step=max(0, state.global_step - 1))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell Trainer to save or stop after an optimizer step. All ranks agree on both."""
        self._stopping = self._trial.should_stop
        if self._stopping:
            control.should_training_stop = True
        if self._trial.should_save:  # because a checkpoint is due, or because of the stop
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Do not evaluate after an epoch that a stop has cut short, and save only if this step was not saved."""
        if self._stopping:
            if not float(state.epoch or 0).is_integer():
                control.should_evaluate = False
            control.should_save = self._saved != state.global_step

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Point to the checkpoint that Trainer wrote."""
        self._saved = state.global_step
        if not args.save_only_model:  # training cannot resume from weights alone
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            point_to(self._trial, folder, step=state.global_step - 1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()


def _step_of(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() else -1


def _is_metric(name: str, value: object) -> bool:
    """Return whether a logged value is a metric of the model, and not a duration, a throughput or the epoch."""
    is_about_time = name == "epoch" or name.endswith(("_runtime", "_per_second", "_time"))
    return isinstance(value, int | float) and not is_about_time
