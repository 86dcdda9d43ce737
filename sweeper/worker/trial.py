"""The trial API: a training script reports to the record of its attempt, saves its state, and asks whether to stop.

Under `sweeper run`, the directory, the parameters and the seed come from the sweep. A script that is started by itself
gets a new directory under `runs/` and the same record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sweeper.errors import CheckpointError, Unwritable, UsageError
from sweeper.record.derivation import Derivation
from sweeper.record.events import Checkpointed, Metrics, Noted, Plan, Resumed
from sweeper.record.on_spike import OnSpike
from sweeper.record.storage.layout import TrialDir
from sweeper.worker import checkpoint, derived_state
from sweeper.worker.guard import Guard, gradient_norm
from sweeper.worker.ranks import Ranks
from sweeper.worker.recorder import Recorder
from sweeper.worker.scalars import Number, described, is_on_accelerator, number, numbers_by_name, whole
from sweeper.worker.spikes import GRADIENT_NORM

if TYPE_CHECKING:
    import torch

    from sweeper.worker.watch.watch import Watch


GUARDED_LOSS = "loss"
"""The name of the loss that `Trial.guard` is given."""
LONGEST_NOTE = 10_000
"""Maximum number of characters of a note in the record."""


class Trial:
    """One run of a training script, opened by `sweeper.trial()` or `sweeper.start()`.

    With several ranks, each rank opens a trial and makes the same calls; only rank 0 writes the record.

    Attributes:
        params: the parameters: the sweep's values, and the script's defaults for parameters that the sweep does not
            set.
        seed: the seed for random numbers.
        dir: the trial's directory. The script may keep files of its own in it.

    Example:
        A training loop that can be stopped and resumed::

            with sweeper.trial(defaults={"lr": 3e-4}) as trial:
                torch.manual_seed(trial.seed)
                optimizer = torch.optim.AdamW(model.parameters(), lr=trial.params["lr"])
                trial.plan(total_steps=1000)
                trial.watch(model, optimizer)
                state = trial.restore()
                if state is not None:
                    model.load_state_dict(state["model"])
                    optimizer.load_state_dict(state["optimizer"])
                for step in range(trial.next_step, 1000):
                    loss = train_one_step()
                    trial.report({"loss/train": loss}, step=step)
                    if trial.should_save:
                        trial.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, step=step)
                    if trial.should_stop:
                        break
    """

    def __init__(self, recorder: Recorder, directory: TrialDir, defaults: Mapping[str, object]) -> None:
        self.params: Mapping[str, Any] = {**defaults, **recorder.facts.params_in(directory)}
        self.seed = recorder.facts.seed
        self.dir: Path = directory.path
        self._recorder = recorder
        self._checkpoints = directory.checkpoints
        self._ranks = Ranks()
        self._guard = Guard(recorder, self._ranks)
        self._saved_at = time.monotonic()
        self._saved_step = 0

    @property
    def next_step(self) -> int:
        """The next optimizer step, counted from 0. The watch counts steps; `restore` sets it after a resume.

        Set it if the script resumes from a checkpoint of its own, so that the record counts from the right step.

        Example:
            ``trial.next_step = my_checkpoint["step"] + 1``
        """
        return self._recorder.next_step

    @next_step.setter
    def next_step(self, step: Number) -> None:
        self._recorder.next_step = whole("trial.next_step = ...", step)

    def plan(self, *, total_steps: Number, peak_lr: Number | None = None, uncorrected: Iterable[Number] = ()) -> None:
        """Declare the number of optimizer steps and the peak learning rate, for rules and progress displays.

        Args:
            total_steps: number of optimizer steps of the whole training: a whole number of any type, such as 1000 or
                1000 / 10. A fraction, None and infinity are refused.
            peak_lr: highest learning rate of the schedule, if known.
            uncorrected: the two betas of an Adam without bias correction, as in the original BERT. Leave it empty for
                torch's own optimizers.

        Raises:
            UsageError: an argument is not a number, or the number of steps is not whole.
            Unwritable: the record cannot be written.

        Example:
            ``trial.plan(total_steps=epochs * len(loader), peak_lr=3e-4)``
        """
        steps = whole("plan(total_steps=...)", total_steps)
        peak = None if peak_lr is None else float(number("plan(peak_lr=...)", peak_lr))
        betas = _betas(uncorrected)
        self._recorder.total_steps = steps
        self._recorder.append(Plan(total_steps=steps, peak_lr=peak, uncorrected=betas))

    def watch(  # noqa: PLR0913 - all but two have defaults
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        *,
        every: int = 10,
        statistics: Literal["full", "reach"] = "full",
        layers: Sequence[str] | None = None,
        include_bias: bool = False,
    ) -> Watch:
        """Record gradients, updates and activations of a model, by hooks. Call it once, before the first step.

        Args:
            model: everything that is trained. Put several models into one `torch.nn.ModuleList`.
            optimizer: the optimizer of the model, or a list of optimizers that take turns. One turn of all of them
                counts as one step.
            every: number of optimizer steps from one observation to the next.
            statistics: `full`, or `reach` for gradient norms only, which needs no copy of the weights.
            layers: patterns such as `encoder.layer.*`. Only tensors with an own name or module name that matches one
                are watched. By default, all are.
            include_bias: whether to watch biases too.

        Returns:
            The watch. Its hooks find each optimizer step by themselves. Call `Watch.look()` between `backward()` and
            gradient clipping if gradients should be recorded before they are clipped.

        Raises:
            UsageError: an argument is invalid, or the trial has a watch already.

        Example:
            ``trial.watch(model, optimizer, every=20)``
        """
        from sweeper.worker.watch.watch import Watch

        recorder = self._recorder
        if recorder.watch is not None and recorder.watch.open:
            hint = "pass several models as one torch.nn.ModuleList, and several optimizers as a list"
            raise UsageError(f"watch(...) was called twice for one trial: {hint}")
        recorder.watch = Watch(
            model,
            [optimizer] if not isinstance(optimizer, Sequence) else optimizer,
            recorder,
            file=recorder.attempt.layers if recorder.writes else None,
            every=every,
            statistics=statistics,
            layers=layers,
            include_bias=include_bias,
        )
        return recorder.watch

    def restore(self) -> dict[str, Any] | None:
        """Load the newest checkpoint of the trial, to resume from it.

        A damaged checkpoint is skipped, with a note in the record, and the one before it is loaded.

        Returns:
            The state that was given to `save`, with tensors on the CPU; None if there is no checkpoint, as on the
            first start. `next_step` is then the step after the checkpoint.

        Raises:
            Unwritable: the record cannot be written.

        Example:
            ::

                state = trial.restore()
                if state is not None:
                    model.load_state_dict(state["model"])
        """
        for path in checkpoint.unrecognised(self._checkpoints):
            expected = f"expected a name with a checksum, such as {checkpoint.EXAMPLE}"
            self.note(f"ignored {path}, which sweeper did not save: {expected}")
        for path in checkpoint.checkpoints(self._checkpoints):
            try:
                state = checkpoint.load(path)
            except CheckpointError as error:
                self.note(str(error))
                continue
            step = checkpoint.step_of(path)
            self._recorder.append(Resumed(step=step), sync=True)
            self._recorder.next_step = self._saved_step = step + 1
            derived = self._recorder.facts.derived
            if derived is not None and derived.checkpoint == path.name:
                return self._changed(state, derived)
            return state
        return None

    def _changed(self, state: dict[str, Any], derived: Derivation) -> dict[str, Any]:
        """Return the parent's state with the learning rates, and without the moments, as the trial was derived."""
        changed, found = derived_state.changed(state, derived)
        if derived_state.is_pointer(state):
            self._recorder.derivation = derived  # the integration changes what its library restores
        elif not found and derived_state.is_needed(derived):
            self.note(derived_state.NOT_CHANGED)
        return changed

    def report(self, values: Mapping[str, Number], *, step: Number) -> None:
        """Record scalar metrics of an optimizer step.

        Args:
            values: metrics by name, such as `loss/train`. A value is any number: of Python or NumPy, a boolean, or an
                array or tensor with one element. NaN and infinity are recorded. The training loop does not wait for
                tensors on an accelerator: they are written once they have been computed.
            step: the optimizer step, counted from 0: a whole number of any type.

        Raises:
            UsageError: a value is not a number, or the step is not a whole number of 0 or more. Nothing is recorded.
            Unwritable: the record cannot be written.

        Example:
            ``trial.report({"loss/train": loss, "accuracy/test": 0.91}, step=step)``
        """
        recorder = self._recorder
        numbers = numbers_by_name("report", values)
        at = whole("report(step=...)", step)
        recorder.last_step = max(recorder.last_step, at)
        recorder.reported.update(numbers)
        if not recorder.writes:
            return
        pending = {name: value for name, value in numbers.items() if is_on_accelerator(value)}
        known = {name: float(_detached(value)) for name, value in numbers.items() if name not in pending}
        if not pending:
            recorder.outbox.put(None, lambda _: recorder.append(Metrics(step=at, values=known)))
            return

        def write(arrived: list[float]) -> None:
            complete = {**known, **dict(zip(pending, arrived, strict=True))}
            recorder.append(Metrics(step=at, values={name: complete[name] for name in numbers}))

        recorder.outbox.put(_stacked(list(pending.values())), write)

    def guard(
        self, loss: Number, model: torch.nn.Module | Iterable[torch.Tensor] | None = None, *, step: Number
    ) -> bool:
        """Return whether the optimizer should step: false if the step has a spike and the sweep has `on_spike: skip`.

        A spike is a loss or a gradient norm that is far above those of the last 128 steps, or not finite. Each is
        recorded. Call it once for each step, after `backward()`. If gradients are clipped, call it before clipping, and
        with a gradient scaler after `scaler.unscale_(optimizer)`.

        With `on_spike: skip`, the call waits for the device, because the decision has to be known before the step. With
        several ranks, all call it and get the same answer: the step is skipped if any rank has a spike. Otherwise, the
        answer is always true, and nothing waits.

        Args:
            loss: the loss of the step: a number, or a tensor with one element.
            model: the model, or its parameters, after `backward()`. Without it, only the loss is tested.
            step: the optimizer step, counted from 0: a whole number of any type.

        Raises:
            UsageError: the loss is not a number, or the step is not a whole number of 0 or more.
            Unwritable: the record cannot be written.

        Example:
            ::

                loss.backward()
                if trial.guard(loss, model, step=step):
                    optimizer.step()
                optimizer.zero_grad()
        """
        value = number("guard(loss=...)", loss)
        at = whole("guard(step=...)", step)
        recorder, parameters = self._recorder, _parameters(model)
        if recorder.spikes.action is OnSpike.OFF:
            return True
        values: dict[str, float | torch.Tensor] = {GUARDED_LOSS: value}
        if (norm := gradient_norm(parameters) if parameters else None) is not None:
            values[GRADIENT_NORM] = norm
        may = self._guard.may_step(values, step=at)
        if not may and recorder.watch is not None:
            recorder.watch.skip(parameters)
        return may

    @property
    def should_stop(self) -> bool:
        """Whether the training loop should end after the current step.

        It is true after SIGTERM, which `sweeper stop`, a rule or a time limit of the cluster sends, and after the last
        step of a turn in a population. Save first, then leave the loop. All ranks get the same answer, by a small
        all-reduce on the CPU: with several ranks, read it on every rank, once a step.

        Example:
            ::

                if trial.should_stop:
                    break
        """
        if not self._recorder.stopping:
            (self._recorder.stopping,) = self._ranks.any(self._recorder.should_stop())
        return self._recorder.stopping

    @property
    def should_save(self) -> bool:
        """Whether a checkpoint is due by `checkpoint.every_minutes` or `every_steps`, or because the trial should stop.

        All ranks get the same answer: with several ranks, read it on every rank, once a step.

        Example:
            ::

                if trial.should_save:
                    trial.save({"model": model.state_dict()}, step=step)
        """
        if self._recorder.stopping:
            return True
        facts = self._recorder.facts
        due = time.monotonic() - self._saved_at >= facts.checkpoint_every_s
        if facts.checkpoint_every_steps:
            due = due or self._recorder.steps_done - self._saved_step >= facts.checkpoint_every_steps
        self._recorder.stopping, due = self._ranks.any(self._recorder.should_stop(), due)
        return self._recorder.stopping or due

    def save(self, state: Mapping[str, Any], *, step: Number) -> None:
        """Write a checkpoint for `restore`. The newest two are kept, and older ones with `checkpoint.keep_healthy`.

        If the checkpoint cannot be written, the previous one is kept, training continues, and the record has a note.

        Args:
            state: everything that the training needs to resume: tensors, numbers, strings, lists and dicts of these.
                Numbers of NumPy, Decimal and Fraction come back as Python's, and arrays of NumPy as arrays.
            step: the optimizer step after which the state was taken, counted from 0: a whole number of any type.

        Raises:
            UsageError: the step is not a whole number of 0 or more, or the state is not a mapping.
            Unwritable: the record itself cannot be written.

        Example:
            ``trial.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, step=step)``
        """
        at = whole("save(step=...)", step)
        if not isinstance(state, Mapping):
            expected = 'a mapping, such as {"model": model.state_dict()}'
            raise UsageError(f"save(state=...): expected {expected}, got {described(state)}")
        self._recorder.outbox.flush()
        self._saved_at, self._saved_step = time.monotonic(), at + 1
        if not self._recorder.writes:
            return
        facts = self._recorder.facts
        origin = "" if facts.derived is None else facts.derived.checkpoint
        try:
            path = checkpoint.save(self._checkpoints, state, step=at, older=facts.keep_healthy, origin=origin)
        except Unwritable as error:
            self.note(f"the checkpoint after step {at} was not written, so the previous one was kept: {error}")
        else:
            target = state[derived_state.POINTER] if derived_state.is_pointer(state) else ""
            self._recorder.append(Checkpointed(step=at, file=path.name, points_to=target), sync=True)
        self._saved_at = time.monotonic()

    def note(self, text: str) -> None:
        """Record a remark for the people who read the record. It is shown by `sweeper why`.

        Args:
            text: one line of text. Only the first `LONGEST_NOTE` characters of a longer one are recorded.

        Raises:
            Unwritable: the record cannot be written.

        Example:
            ``trial.note("the data set has only 3 classes")``
        """
        if len(text) > LONGEST_NOTE:
            text = f"{text[:LONGEST_NOTE]}… (only the first {LONGEST_NOTE:,} of {len(text):,} characters are recorded)"
        self._recorder.append(Noted(text=text))

    def finish(self) -> None:
        """End the trial now. Only a process that runs several trials one after another needs it, such as a notebook.

        The end is recorded as at the end of the process: `completed`, or `stopped` after a stop with steps left.
        Nothing happens if the trial has ended already.

        Raises:
            Unwritable: the record cannot be written.

        Example:
            ::

                for lr in (1e-4, 3e-4):
                    trial = sweeper.start(defaults={"lr": lr})
                    train(trial)
                    trial.finish()
        """
        from sweeper.worker import opening

        opening.finish(self)


def wait_for_ranks(trial: Trial) -> None:
    """Wait until every rank has come here; every rank calls it. Without several ranks, nothing happens."""
    trial._ranks.any(trial._recorder.stopping)  # noqa: SLF001 - as in `recorder_of`


def recorder_of(trial: Trial) -> Recorder:
    """Return the recorder of a trial. Internal: scripts do not need it."""
    return trial._recorder  # noqa: SLF001 - the one place where sweeper itself reaches behind the public API


def _betas(uncorrected: Iterable[Number]) -> tuple[float, ...]:
    place = "plan(uncorrected=...)"
    try:
        betas = tuple(float(number(place, beta)) for beta in uncorrected)
    except TypeError:  # it cannot be iterated over
        betas = (math.nan,)
    if len(betas) not in (0, 2):
        raise UsageError(f"{place}: expected two betas, such as (0.9, 0.999), got {described(uncorrected)}")
    return betas


def _parameters(model: object) -> list[torch.Tensor]:
    """Return the parameters of a model, or the parameters that were given themselves."""
    if model is None:
        return []
    of_module: Callable[[], Iterable[torch.Tensor]] | None = getattr(model, "parameters", None)
    try:
        found: list[Any] = list(model if of_module is None else of_module())  # type: ignore[call-overload]  # just below
    except TypeError:
        found = [None]
    if not all(hasattr(one, "grad") for one in found):
        raise UsageError(f"guard(model=...): expected a model or its parameters, got {described(model)}")
    return found


def _detached(value: float | torch.Tensor) -> float | torch.Tensor:
    detach: Callable[[], torch.Tensor] | None = getattr(value, "detach", None)
    return value if detach is None else detach()


def _stacked(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return 0-d tensors as one tensor of shape (n,), in float32 on the device of the first."""
    import torch

    device = values[0].device
    return torch.stack([value.detach().to(device, torch.float32, non_blocking=True).reshape(()) for value in values])
