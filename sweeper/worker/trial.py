"""The trial API: what a training script says, appended to the attempt's own directory.

Under `sweeper run` the directory, parameters and seed come from the sweep. Alone, the script gets a new directory
under `runs/` and the same record, written by the same functions.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from sweeper.errors import CheckpointError, Unwritable, UsageError
from sweeper.record.causes import Cause
from sweeper.record.events import Checkpointed, Event, Finished, Metrics, Noted, Plan, Resumed, Started
from sweeper.record.facts import Facts
from sweeper.record.storage.claim import catches
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir, write_atomically
from sweeper.worker import checkpoint
from sweeper.worker.ranks import Ranks, is_first, place
from sweeper.worker.watch.outbox import Outbox

if TYPE_CHECKING:
    import torch

    from sweeper.worker.watch.watch import Watch

STDERR = 2
"""The descriptor itself: `sys.stderr` may have been replaced by something that has none."""


class Trial:
    """One run of a training script; made by `sweeper.trial()`.

    Where several ranks train one model, each has a `Trial`, and calls it as the others do; that of rank 0 writes.

    Attributes:
        params: the parameters, those of the sweep before the script's own defaults.
        seed: what to seed random numbers with.
        dir: the trial's directory, where the script may keep files of its own.
        next_step: the optimizer step that comes next, from 0; counted by the watch.
    """

    def __init__(self, facts: Facts, directory: TrialDir, attempt: AttemptDir, defaults: Mapping[str, object]) -> None:
        self.params: Mapping[str, Any] = {**defaults, **facts.params}
        self.seed = facts.seed
        self.dir: Path = directory.path
        self.outbox = Outbox()
        self.next_step = 0
        self._facts = facts
        self._attempt = attempt
        self._checkpoints = directory.checkpoints
        self._journal = JournalWriter(attempt.events) if is_first() else None
        self._ranks = Ranks()
        self._watch: Watch | None = None
        self._saved_at = time.monotonic()
        self._stop = threading.Event()
        self._stop_seen = False
        self._total_steps: int | None = None
        self._last_step = -1

    # ---- what a training script calls -----------------------------------------------------------------------------

    def plan(self, *, total_steps: int, peak_lr: float | None = None, uncorrected: Sequence[float] = ()) -> None:
        """Say how many optimizer steps there will be, and the highest learning rate of the schedule.

        Args:
            uncorrected: the two betas of an Adam whose bias correction is left out, as BERT's.
        """
        self._total_steps = total_steps
        self.append(Plan(total_steps=total_steps, peak_lr=peak_lr, uncorrected=tuple(uncorrected)))

    def watch(  # noqa: PLR0913 - each has a default that serves
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        *,
        every: int = 10,
        statistics: Literal["full", "reach"] = "full",
        layers: Sequence[str] | None = None,
        include_bias: bool = False,
    ) -> Watch:
        """Watch gradients and updates at every `every`-th optimizer step, by hooks; call before the first step.

        Args:
            model: the whole of what is trained; several models go into one `torch.nn.ModuleList`.
            optimizer: what updates it; several that take turns as a list. A step is a turn of all of them.
            every: optimizer steps from one observation to the next.
            statistics: `full`, or `reach`: the gradient norms of the layers alone, without a copy of the weights.
            layers: watch only tensors whose name, or whose module's name, matches one of these patterns
                (`encoder.layer.*`).
            include_bias: watch biases too.

        Raises:
            UsageError: an argument is not what it should be, or the trial is already being watched.
        """
        from sweeper.worker.watch.watch import Watch

        if self._watch is not None and self._watch.open:
            raise UsageError("watch(...): the trial is watched already; one watch takes several models and optimizers")
        self._watch = Watch(
            model,
            [optimizer] if not isinstance(optimizer, Sequence) else optimizer,
            self,
            rows=self._attempt.layers if self._journal is not None else None,
            every=every,
            statistics=statistics,
            layers=layers,
            include_bias=include_bias,
        )
        return self._watch

    def restore(self) -> dict[str, Any] | None:
        """What `save` was given last, tensors on the CPU; None at a first start.

        A damaged checkpoint is passed over for the one before it, and one that `save` has not written for any other;
        the record says so.
        """
        for path in checkpoint.strangers(self._checkpoints):
            expected = f"expected a name with the checksum, as {checkpoint.EXAMPLE}: not saved by sweeper, passed over"
            self.append(Noted(text=f"{path}: {expected}"))
        for path in checkpoint.checkpoints(self._checkpoints):
            try:
                state = checkpoint.load(path)
            except CheckpointError as error:
                self.append(Noted(text=str(error)))
                continue
            step = checkpoint.step_of(path)
            self.append(Resumed(step=step), sync=True)
            self.next_step = step + 1
            return state
        return None

    def report(self, values: Mapping[str, float | torch.Tensor], *, step: int) -> None:
        """Record scalars of an optimizer step, counted from 0; tensors (0-d) are welcome and nothing waits for them."""
        self._last_step = max(self._last_step, step)
        if self._journal is None:
            return
        there = {name: value for name, value in values.items() if _has_to_be_waited_for(value)}
        here = {name: float(_detached(value)) for name, value in values.items() if name not in there}
        if not there:
            self.outbox.put(None, lambda _: self.append(Metrics(step=step, values=here)))
            return
        names = list(values)

        def write(arrived: list[float]) -> None:
            known = {**here, **dict(zip(there, arrived, strict=True))}
            self.append(Metrics(step=step, values={name: known[name] for name in names}))

        self.outbox.put(_stacked(list(there.values())), write)

    @property
    def should_stop(self) -> bool:
        """Whether the loop is asked to end after the step at hand.

        Ranks agree on it, by a small message between CPUs each time it is asked: ask on every rank, once a step.
        """
        if not self._stop_seen:
            (self._stop_seen,) = self._ranks.any(self._stop.is_set())
        return self._stop_seen

    @property
    def should_save(self) -> bool:
        """Whether a checkpoint is due: by the sweep's cadence, or because of a stop. Ranks agree on it."""
        if self._stop_seen:
            return True
        due = time.monotonic() - self._saved_at >= self._facts.checkpoint_every_s
        self._stop_seen, due = self._ranks.any(self._stop.is_set(), due)
        return self._stop_seen or due

    def save(self, state: Mapping[str, Any], *, step: int) -> None:
        """Checkpoint the state after `step`: tensors, numbers, strings, lists and dicts, for `restore`.

        Where it cannot be written the checkpoint before it stays, training goes on, and the record says so.
        """
        self.outbox.flush()
        self._saved_at = time.monotonic()
        if self._journal is None:
            return
        try:
            path = checkpoint.save(self._checkpoints, state, step=step)
        except Unwritable as error:
            self.note(f"the state after step {step} was not saved, and the checkpoint before it stays: {error}")
        else:
            self.append(Checkpointed(step=step, file=path.name), sync=True)
        self._saved_at = time.monotonic()

    def note(self, text: str) -> None:
        """Record something a person should know, once."""
        self.append(Noted(text=text))

    # ---- what sweeper itself calls --------------------------------------------------------------------------------

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Append an event, stamped with the time, on the rank that writes."""
        if self._journal is not None:
            self._journal.append(replace(event, time=time.time()), sync=sync)

    def stepped(self) -> None:
        """Count an optimizer step."""
        self.next_step += 1
        self._last_step = max(self._last_step, self.next_step - 1)

    def conclude(self, returned: object) -> None:
        """Report what a trainer's function returned, after the last step: a number is the sweep's metric."""
        standalone = {self._facts.metric or "value": returned}
        values: Mapping[str, Any] = returned if isinstance(returned, Mapping) else standalone
        known: dict[str, Any] = {str(name): value for name, value in values.items() if hasattr(value, "__float__")}
        if known:
            self.report(known, step=max(self._last_step, 0))
        for name in values.keys() - known.keys() if returned is not None else ():  # who returns nothing has reported
            self.note(f"{name}: expected a number to be returned, got a {type(values[name]).__name__}")

    def ask_to_stop(self, *_: int | FrameType | None) -> None:
        """Ask the loop to end after the step at hand; a signal handler."""
        self._stop.set()

    def finish(self, error: BaseException | None) -> None:
        """Write how the script left, and close the record.

        Raises:
            Unwritable: the record cannot be written; not where the script leaves by an error, which says more.
        """
        try:
            if self._watch is not None:
                self._watch.close()
            self.outbox.flush()
            self.append(self._ending(error), sync=True)
        except Unwritable:
            if error is None:
                raise
        if self._journal is not None:
            self._journal.close()
        elif error is not None and TRIAL_DIR in os.environ:  # alone, only the first rank knows the directory
            with suppress(Unwritable):
                word = replace(self._ending(error), time=time.time())
                write_atomically(self._attempt.last_word(place()), encode(word))

    def _ending(self, error: BaseException | None) -> Finished:
        if isinstance(error, KeyboardInterrupt):
            return Finished(outcome="stopped")
        if error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0)):
            cause = Cause.CUDA_OOM if _is_out_of_device_memory(error) else ""
            text = f"{type(error).__name__}: {error}"[:2000]
            return Finished(outcome="failed", error=text, cause=cause, peak_device_mb=_peak_device_mb())
        through = self._total_steps is not None and self._last_step + 1 >= self._total_steps
        outcome = "stopped" if self._stop_seen and not through else "completed"
        return Finished(outcome=outcome, peak_device_mb=_peak_device_mb())


_OPEN: ContextVar[Trial | None] = ContextVar("open", default=None)


@contextmanager
def trial(defaults: Mapping[str, object] | None = None) -> Iterator[Trial]:
    """Open this process's trial: under `sweeper run` the one it was started for, alone a new one under `runs/`.

    Within a trial that is open it is that trial, as in a function that `sweeper.worker.function` calls.

    Args:
        defaults: parameters for what the sweep does not set.

    Within it SIGTERM asks the loop to stop (`should_stop`), and SIGUSR1 writes the stacks of all threads to standard
    error; the previous handlers are put back afterwards.
    """
    if (outer := _OPEN.get()) is not None:
        outer.params = {**(defaults or {}), **outer.params}
        yield outer
        return
    directory, attempt, facts, ended = _place(defaults or {})
    opened = Trial(facts, directory, attempt, defaults or {})
    opened.append(Started(pid=os.getpid(), host=socket.gethostname(), attempt=attempt.number), sync=True)
    dumps = not catches(os.getpid(), signal.SIGUSR1)  # a script's own handler is left to it
    if dumps:
        faulthandler.register(signal.SIGUSR1, file=STDERR, all_threads=True)
    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, opened.ask_to_stop) if main else None
    _OPEN.set(opened)
    try:
        yield opened
        opened.finish(None)
    except BaseException as error:
        opened.finish(error)
        with suppress(Unwritable):  # what the script left by says more
            ended(1)
        raise
    else:
        ended(0)
    finally:
        _OPEN.set(None)
        if main:
            signal.signal(signal.SIGTERM, previous)
        if dumps:
            faulthandler.unregister(signal.SIGUSR1)


def _place(defaults: Mapping[str, object]) -> tuple[TrialDir, AttemptDir, Facts, Any]:
    if TRIAL_DIR in os.environ:
        directory = TrialDir(Path(os.environ[TRIAL_DIR]))
        return directory, directory.attempt(int(os.environ.get(ATTEMPT, "1"))), Facts.read(directory), lambda _: None
    from sweeper.worker import standalone

    made = standalone.place if is_first() else standalone.beside
    return made(Path("runs"), script=Path(sys.argv[0]), params=defaults)


def _is_out_of_device_memory(error: BaseException) -> bool:
    """Whether it is torch's exception for that; a script that has not imported torch cannot raise it."""
    torch = sys.modules.get("torch")
    kind = getattr(torch, "OutOfMemoryError", None) or getattr(getattr(torch, "cuda", None), "OutOfMemoryError", None)
    return isinstance(kind, type) and isinstance(error, kind)


def _peak_device_mb() -> float | None:
    """The most memory that torch had allocated on the current CUDA device, in MiB; None where CUDA is not in use."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    try:
        return float(round(cuda.max_memory_allocated() / 2**20, 1))
    except RuntimeError:  # a device that failed answers nothing more, and the end is still to be written
        return None


def _has_to_be_waited_for(value: float | torch.Tensor) -> TypeGuard[torch.Tensor]:
    """Whether a value is still being computed, on an accelerator."""
    device: torch.device | None = getattr(value, "device", None)
    return device is not None and device.type != "cpu"


def _detached(value: float | torch.Tensor) -> float | torch.Tensor:
    detach: Callable[[], torch.Tensor] | None = getattr(value, "detach", None)
    return value if detach is None else detach()


def _stacked(values: Sequence[torch.Tensor]) -> torch.Tensor:
    import torch

    device = values[0].device
    return torch.stack([value.detach().to(device, torch.float32, non_blocking=True).reshape(()) for value in values])
