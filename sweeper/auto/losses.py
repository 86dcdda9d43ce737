"""The loss of each optimizer step, taken where the script calls `.backward()`.

Several calls between two steps add up to one value, as their gradients do. A gradient scaler multiplies the loss, so
its value from before `GradScaler.scale` is taken. A tensor with several elements is no loss. Nothing waits for the
device.
"""

from __future__ import annotations

import functools
import itertools
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from sweeper.auto.replacing import replace
from sweeper.auto.session import Session
from sweeper.record.events import Metrics
from sweeper.worker.recorder import Recorder

NAME = "loss/backward"
"""The name of the metric. If several optimizers have losses of their own, the optimizer's name follows it."""
TOGETHER = 10
"""Number of values that are written together, with one copy from the device."""
LONGEST_WAIT_S = 1.0


class StepLosses:
    """The losses of the current step, by the optimizer that used their gradients.

    Attributes:
        summed: for each metric that is a sum, the highest number of backward calls in a step so far.
    """

    def __init__(self) -> None:
        self._total: torch.Tensor | None = None
        self._calls = 0
        self._of_optimizers: dict[str, tuple[torch.Tensor, int]] = {}
        self._calls_before: dict[str, int] = {}
        self.summed: dict[str, int] = {}
        self._several = False
        self._before_add: tuple[torch.Tensor | None, int] = (None, 0)

    def add(self, loss: torch.Tensor) -> None:
        """Add the loss of a backward call."""
        self._before_add = self._total, self._calls
        self._calls += 1
        # A copy: scripts average the loss over ranks in place, for their own output.
        loss = loss.to(torch.float32, copy=True)
        self._total = loss if self._total is None else self._total + loss.to(self._total.device, non_blocking=True)

    def take_back(self) -> None:
        """Forget the loss that was added last, because its call has failed."""
        self._total, self._calls = self._before_add

    @property
    def unused(self) -> torch.Tensor | None:
        """The sum of the losses that no optimizer has used yet, 0-d; None if there are none."""
        return self._total

    def drop(self) -> None:
        """Forget the losses that no optimizer has used."""
        self._total, self._calls = None, 0

    def stepped(self, optimizer: str) -> None:
        """Assign the losses since the last step of any optimizer to this one. Its last step in a turn counts."""
        if self._total is not None:
            self._of_optimizers[optimizer] = (self._total, self._calls)
            self._total, self._calls = None, 0

    def end(self) -> dict[str, torch.Tensor]:
        """Return the losses of the step, 0-d, by the name of the metric, and begin the next step.

        A step with fewer calls than the one before is left out: an incomplete accumulation at the end of an epoch has a
        loss of another size. If the next step has as few, it counts.
        """
        self.stepped("")  # what no optimizer has used, as after a step that a gradient scaler skipped
        found, self._of_optimizers = self._of_optimizers, {}
        if len(found) > 1:
            found.pop("", None)
        self._several = self._several or len(found) > 1
        values = {}
        for optimizer, (total, calls) in found.items():
            before = self._calls_before.get(optimizer, calls)
            self._calls_before[optimizer] = calls
            if calls >= before:
                name = f"{NAME}/{optimizer}" if self._several and optimizer else NAME
                values[name] = total
                if calls > 1:
                    self.summed[name] = max(calls, self.summed.get(name, 0))
        return values


class BackwardLosses:
    """Records the losses of backward calls. Wraps the backward pass and `GradScaler.scale` until `close`."""

    def __init__(self, before: Callable[[], None], optimizer_name: Callable[[object], str], session: Session) -> None:
        """Wrap the functions. Nothing is written before `begin`.

        Args:
            before: is called before each backward pass.
            optimizer_name: returns the name of an optimizer.
            session: takes notes and errors.
        """
        self._before = before
        self._session = session
        self._guarded = session.guarded
        self._noted: set[str] = set()
        self._optimizer_name = optimizer_name
        self._recorder: Recorder | None = None
        self._each_call_is_a_step = False
        self._losses = StepLosses()
        self._step = 0
        self._waiting: list[tuple[int, str, torch.Tensor]] = []
        self._written = 0.0
        self._calls_in_step: int | None = None
        self._is_in_backward = False
        self._scaled: tuple[weakref.ref[torch.Tensor], torch.Tensor] | None = None
        self._ends = [
            replace(torch.autograd, "backward", self._backward),  # `Tensor.backward` calls it
            replace(torch.amp.GradScaler, "scale", self._scale),
            register_optimizer_step_pre_hook(self._at_step).remove,
            register_optimizer_step_post_hook(self._after_step).remove,
        ]

    def begin(self, recorder: Recorder, *, each_call_is_a_step: bool = False, at_forward: bool = False) -> None:
        """Record from now on.

        Args:
            recorder: the recorder of the trial, which counts steps.
            each_call_is_a_step: whether the script has no optimizer, so that backward calls are counted.
            at_forward: whether the current step begins now, so that earlier backward calls belong to no step.
        """
        self._recorder = recorder
        self._each_call_is_a_step = each_call_is_a_step
        self._step = recorder.next_step
        if at_forward:
            self._losses.drop()

    @property
    def current(self) -> torch.Tensor | None:
        """The loss of the step that an optimizer is about to make, 0-d; None if there was no backward call."""
        return self._losses.unused

    def close(self) -> None:
        """Write what is waiting, and restore the functions."""
        for end in self._ends:
            end()
        self._ends.clear()
        self.flush()

    def flush(self) -> None:
        """Write the values that are waiting."""
        waiting, self._waiting = self._waiting, []
        self._written = time.monotonic()
        if not waiting or self._recorder is None:
            return
        recorder = self._recorder
        device = waiting[0][2].device
        values = torch.stack([value.to(device, torch.float32, non_blocking=True) for _, _, value in waiting])

        def write(arrived: list[float]) -> None:
            events: dict[int, dict[str, float]] = {}
            for (step, name, _), value in zip(waiting, arrived, strict=True):
                events.setdefault(step, {})[name] = value
            recorder.extend([Metrics(step=step, values=named) for step, named in events.items()])

        recorder.outbox.put(values, write)

    def _backward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # A backward pass within another one computes checkpointed parts again.
        if torch.compiler.is_compiling() or self._is_in_backward:
            return original(*args, **kwargs)
        self._guarded("recording losses", self._before)
        # Before the call, because an optimizer may step within it, as soon as it has a gradient.
        is_added = self._guarded("recording losses", lambda: self._add(*args, **kwargs))
        self._is_in_backward = True
        try:
            result = original(*args, **kwargs)
        except BaseException:
            if is_added:
                self._losses.take_back()
            raise
        finally:
            self._is_in_backward = False
        if is_added and self._each_call_is_a_step and self._recorder is not None:
            self._recorder.stepped()
            self._guarded("recording losses", self._end_step_if_over, self._recorder)
        return result

    def _add(self, tensors: object, grad_tensors: object = None, *_: object, **__: object) -> bool:
        """Add the loss of a call with these arguments of `torch.autograd.backward`; return whether there is one."""
        roots = tensors if isinstance(tensors, list | tuple) else [tensors]
        gradients = grad_tensors if isinstance(grad_tensors, list | tuple) else [grad_tensors]
        found = [self._value_of(root, gradient) for root, gradient in itertools.zip_longest(roots, gradients)]
        losses = [value for value in found if value is not None]
        if losses:
            self._add_value(functools.reduce(torch.add, losses))
        return bool(losses)

    def _value_of(self, root: object, gradient: object) -> torch.Tensor | None:
        """Return the loss that the gradient is computed of, 0-d; None if this is no loss."""
        if not isinstance(root, torch.Tensor) or hasattr(root, "placements") or root.numel() != 1:
            return None
        scaled = self._scaled
        value = scaled[1] if scaled is not None and scaled[0]() is root else root.detach()
        return (value * gradient.detach() if isinstance(gradient, torch.Tensor) else value).reshape(())

    def _add_value(self, loss: torch.Tensor) -> None:
        if self._calls_in_step is not None:
            self._calls_in_step += 1
            if self._calls_in_step > 1:
                return  # a closure, as that of LBFGS, computes the gradient anew: the loss before the step counts
        recorder = self._recorder
        if recorder is not None:
            self._end_step_if_over(recorder)  # a scaler may have skipped a step, without a call of the optimizer
        self._losses.add(loss)

    def _scale(self, original: Callable[..., Any], scaler: Any, outputs: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(scaler, outputs, *args, **kwargs)
        if isinstance(outputs, torch.Tensor) and isinstance(result, torch.Tensor):
            self._scaled = (weakref.ref(result), outputs.detach())
        return result

    def _at_step(self, *_: object) -> None:
        if not torch.compiler.is_compiling():
            self._calls_in_step = 0

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._calls_in_step = None
        if self._recorder is not None and not torch.compiler.is_compiling():
            self._guarded("recording losses", self._used_by, optimizer, self._recorder)

    def _used_by(self, optimizer: torch.optim.Optimizer, recorder: Recorder) -> None:
        self._losses.stepped(self._optimizer_name(optimizer))
        self._end_step_if_over(recorder)

    def _end_step_if_over(self, recorder: Recorder) -> None:
        step = self._step
        if recorder.next_step == step:
            return
        self._step = recorder.next_step
        found = self._losses.end()
        if not recorder.writes:
            return
        for name in found.keys() & self._losses.summed.keys() - self._noted:
            self._noted.add(name)
            self._session.note(f"{name} is the sum of {self._losses.summed[name]} backward calls a step")
        self._waiting += [(step, name, value) for name, value in found.items()]
        if len(self._waiting) >= TOGETHER or time.monotonic() - self._written > LONGEST_WAIT_S:
            self.flush()
