"""The watch: statistics of gradients, updates and activations, layer by layer, at every n-th optimizer step.

It registers hooks on the optimizers. At an observed step it measures the gradients before the step (or when the script
calls `look()`, which a loop that clips does before clipping), copies the watched tensors, and measures the update after
the step. All statistics of an observation leave the device as one stacked tensor.

A *step* is over once each optimizer has stepped. With one optimizer that is its own step. With two that alternate it
is one step of both, and with a critic that steps four times for each step of the generator it is all five. An optimizer
that has not stepped while another one stepped `IDLE_AFTER` times is idle, and a step does not wait for it until it
steps again.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from sweeper.errors import Unwritable, UsageError
from sweeper.record.events import Event, Noted, Watching
from sweeper.record.values.depth_profile import ACTIVATIONS, FEWEST_LAYERS, STATISTICS
from sweeper.worker.scalars import whole
from sweeper.worker.watch.forward.activations import Activations
from sweeper.worker.watch.forward.attention import AttentionLogits
from sweeper.worker.watch.forward.losses import FIELDS as LOSS_FIELDS
from sweeper.worker.watch.forward.losses import LossCalls
from sweeper.worker.watch.forward.wrapping import Safely
from sweeper.worker.watch.layers import ForwardOrder, Layers, choose, parameters_of, unwrapped
from sweeper.worker.watch.observation import Measurement
from sweeper.worker.watch.optimizer_step import WatchedOptimizer
from sweeper.worker.watch.outbox import Outbox
from sweeper.worker.watch.scaler import on_skipped, skips
from sweeper.worker.watch.shards import add_up, shardings_of
from sweeper.worker.watch.statistics import finished
from sweeper.worker.watch.statistics_file import StatisticsFile

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

KINDS = {"full": STATISTICS, "reach": ("grad_norm",)}
MOST_NAMES = 8
IDLE_AFTER = 64
COMPARED_OBSERVATIONS = 5
"""Number of observations in which the units of a layer are compared; units that can become different have by then."""


class StepRecorder(Protocol):
    """The recorder of the trial: it counts steps and records events."""

    outbox: Outbox

    @property
    def next_step(self) -> int:
        """The number of the next step, from 0."""

    def stepped(self) -> None:
        """Count a step."""

    def append(self, event: Event) -> None:
        """Record an event."""


class Watch:
    """Observes a model through the hooks of its optimizers; made by `Trial.watch`.

    Attributes:
        may_step: is asked before each step of an optimizer, unless its closure computes the gradients; if it returns
            False, the step is skipped.

    Raises:
        UsageError: an argument is not valid.
    """

    def __init__(  # noqa: PLR0913 - the arguments of `Trial.watch`, the recorder and the file
        self,
        model: torch.nn.Module,
        optimizers: Sequence[Any],
        recorder: StepRecorder,
        *,
        file: Path | None,
        every: int,
        statistics: str,
        layers: Sequence[str] | None,
        include_bias: bool,
        on_failure: Callable[[Exception], object] | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            model: as in `Trial.watch`.
            optimizers: as in `Trial.watch`.
            recorder: the recorder of the trial.
            file: the file of statistics; None on a rank that does not write.
            every: as in `Trial.watch`.
            statistics: as in `Trial.watch`.
            layers: as in `Trial.watch`.
            include_bias: as in `Trial.watch`.
            on_failure: is called with an exception of a measurement, after which nothing more is observed, and steps
                are still counted. Without it, the script gets the exception.
        """
        every = whole("watch(every=...)", every)
        if every < 1:
            raise UsageError(f"watch(every=...): expected a number of steps above 0, got {every}")
        if statistics not in KINDS:
            raise UsageError(f"watch(statistics=...): expected one of {', '.join(KINDS)}, got {statistics!r}")
        norm_only = statistics == "reach"
        model, inner = unwrapped(model), [_torch_optimizer(optimizer) for optimizer in optimizers]
        chosen, left_out = choose(model, inner, layers=layers, include_bias=include_bias, layers_only=norm_only)
        self._recorder = recorder
        self._on_failure = on_failure
        self._every = every
        self._statistics = KINDS[statistics]
        self._left_out = left_out
        self._optimizers = [
            WatchedOptimizer(optimizer, watched, norm_only=norm_only)
            for optimizer, watched in zip(inner, chosen, strict=True)
        ]
        self._watched = [watched for optimizer in self._optimizers for watched in optimizer.watched]
        self._shardings = shardings_of([watched.tensor for watched in self._watched])
        # Sums over shards need every rank. For whole tensors, the rank that writes is enough.
        self._observes = bool(self._watched) and (file is not None or bool(self._shardings))
        self._file = StatisticsFile(file) if file is not None else None
        safely = _safely_of(self)
        self._order = ForwardOrder(model, safely)
        full = not norm_only and self._observes and not self._order.is_compiled
        self._activations = Activations(self._order.modules, safely) if full and self._file is not None else None
        self._losses = LossCalls(safely)
        self._attention = AttentionLogits(safely)
        self._comparisons_left = COMPARED_OBSERVATIONS if full else 0
        self._layers: Layers | None = None
        self._watching: Watching | None = None
        self._constants: torch.Tensor | None = None
        self.may_step: Callable[[torch.optim.Optimizer], bool] | None = None
        self._skipped = self._withheld = 0
        self._skipped_on_device: torch.Tensor | None = None
        self._ends = [
            on_skipped(self._step_calls, self._skip),
            *(end for optimizer in self._optimizers for end in self._hook(optimizer)),
        ]
        recorder.append(parameters_of(model, inner))
        self._prepare()
        if not self._watched:
            reasons = _by_reason(left_out) or "the model has no such tensors"
            recorder.append(Noted(text=f"nothing is watched: {reasons}"))

    @property
    def open(self) -> bool:
        """Whether the watch is active."""
        return bool(self._ends)

    @property
    def due(self) -> bool:
        """Whether the current step is observed."""
        return self._observes and self._recorder.next_step % self._every == 0

    def look(self) -> None:
        """Measure the gradients now, before clipping; do nothing at a step that is not observed.

        With a gradient scaler, call it after `scaler.unscale_(optimizer)`.
        """
        if self.due:
            for optimizer in self._optimizers:
                if not optimizer.stepped:
                    optimizer.measure_gradients(clipped=False)

    def withhold(self, optimizer: object) -> None:
        """Skip the step that this optimizer is about to make, or makes, by hiding the gradients until it is over."""
        for one in self._optimizers:
            if one.optimizer is optimizer:
                one.withhold()

    def skip(self, parameters: Sequence[torch.Tensor]) -> None:
        """Count a step that the script does not make, of the optimizers of these parameters; without any, of all."""
        wanted = {id(one) for one in parameters}
        for one in self._optimizers:
            if not wanted or any(id(p) in wanted for group in one.optimizer.param_groups for p in group["params"]):
                self._end_step_without_idle(one)
                if self.due and not one.stepped and not one.is_measured:
                    self._safely(lambda one=one: one.measure_gradients(clipped=True))
                self._withheld += 1
                one.repeats += one.stepped
                one.stepped = True
        self._end_step_if_complete()

    def assume_idle(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Do not wait for these optimizers at the end of a step until they step again."""
        for one in self._optimizers:
            one.idle = any(one.optimizer is other for other in optimizers)

    def close(self) -> None:
        """Stop watching."""
        for end in self._ends:
            end()
        self._ends.clear()
        if self._activations is not None:
            self._activations.close()
        self._losses.take()
        self._attention.take()
        if any(optimizer.stepped for optimizer in self._optimizers):
            self._end_step()
        self._order.close()
        self._recorder.outbox.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def abandon(self) -> None:
        """Stop watching in a forked child, without a trace in the record of its parent."""
        self._file = None
        self._observes = False
        for end in self._ends:
            end()
        self._ends.clear()

    def _safely(self, action: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - that of the function
        """Call a function that measures; if it fails, observe no more."""
        if self._on_failure is None:
            return action(*args)
        try:
            return action(*args)
        except Unwritable:
            raise
        except Exception as error:  # noqa: BLE001 - the script that did not ask for a watch must not fail because of it
            self._observes = False
            self._order.close()
            if self._activations is not None:
                self._activations.close()
            self._losses.take()
            self._attention.take()
            self._on_failure(error)
            return None

    # ---- hooks of a step ---------------------------------------------------------------------------------------------

    def _hook(self, optimizer: WatchedOptimizer) -> list[Callable[[], None]]:
        # If it were compiled, a hook would become part of the graph of the step.
        before = torch.compiler.disable(lambda _, args, kwargs: self._before_step(optimizer, args, kwargs))
        after = torch.compiler.disable(lambda *_: self._after_step(optimizer))
        return [
            optimizer.optimizer.register_step_pre_hook(before).remove,
            optimizer.optimizer.register_step_post_hook(after).remove,
        ]

    def _before_step(
        self, optimizer: WatchedOptimizer, args: Arguments, kwargs: Keywords
    ) -> tuple[Arguments, Keywords] | None:
        self._order.close_if_complete()
        optimizer.step_calls += 1
        self._end_step_without_idle(optimizer)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        is_measured = self.due and not optimizer.stepped
        if closure is None:
            if is_measured:
                self._safely(optimizer.before_step)
            if self.may_step is not None and not self.may_step(optimizer.optimizer):
                optimizer.withhold()
            return None
        if not is_measured:
            return None
        # The closure runs the backward pass. Before it has run, the gradients are those of the previous step.
        measuring = _then_once(closure, lambda: self._safely(optimizer.before_step))
        return ((args[0], measuring, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": measuring})

    def _after_step(self, optimizer: WatchedOptimizer) -> None:
        is_repeat, optimizer.stepped = optimizer.stepped, True
        optimizer.repeats += is_repeat
        optimizer.idle = False
        if optimizer.withheld:
            optimizer.give_back()
            self._withheld += 1
            self._end_step_if_complete()
            return
        skipped = skips(optimizer.optimizer)
        if skipped is not None and self._observes:
            so_far = self._skipped_on_device
            self._skipped_on_device = skipped.clone() if so_far is None else so_far + skipped
        if self.due and not is_repeat:
            self._safely(optimizer.after_step)
        self._end_step_if_complete()

    def _end_step_without_idle(self, optimizer: WatchedOptimizer) -> None:
        """End the current step, and mark the optimizers that have not stepped as idle, after `IDLE_AFTER` repeats."""
        if optimizer.stepped and optimizer.repeats >= IDLE_AFTER:
            for other in self._optimizers:
                other.idle = other.idle or not other.stepped
            self._end_step()

    def _step_calls(self, optimizer: object) -> int:
        return sum(one.step_calls for one in self._optimizers if one.optimizer is optimizer)

    def _skip(self, optimizer: object) -> None:
        """Count a step that a gradient scaler skipped without a call of the optimizer."""
        for one in self._optimizers:
            if one.optimizer is optimizer:
                self._end_step_without_idle(one)
                self._skipped += 1
                one.repeats += one.stepped
                one.stepped = True
                self._end_step_if_complete()

    def _end_step_if_complete(self) -> None:
        if all(optimizer.stepped or optimizer.idle for optimizer in self._optimizers):
            self._end_step()

    def _end_step(self) -> None:
        due = self.due
        taken = [self._safely(optimizer.take) for optimizer in self._optimizers]
        if due and self._observes:
            pairs = zip(self._optimizers, taken, strict=True)
            self._safely(
                lambda: self._emit([optimizer.unmeasured() if sums is None else sums for optimizer, sums in pairs])
            )
        self._recorder.stepped()
        self._prepare()

    def _prepare(self) -> None:
        """Measure the forward pass of the next step if it is observed."""
        if self._activations is not None and self.due:
            self._activations.open()
            self._losses.open()
            self._attention.open()

    # ---- from the device to the record -------------------------------------------------------------------------------

    def _emit(self, sums_of_optimizers: Sequence[torch.Tensor]) -> None:
        """Send all values of the current step from the device to the record as one tensor."""
        # An optimizer without watched tensors has no device.
        device = next((one.device for one in sums_of_optimizers if one.shape[1]), sums_of_optimizers[0].device)
        sums = torch.cat([one.to(device, non_blocking=True) for one in sums_of_optimizers], dim=1)
        if self._shardings:
            sums = add_up(sums, self._shardings)
        if self._file is None:
            return
        groups = [group for optimizer in self._optimizers for group in optimizer.optimizer.param_groups]
        rates = [group["lr"] for group in groups if "lr" in group]
        # A captured optimizer keeps its learning rate on the device, so it arrives with the other values.
        on_device = [rate for rate in rates if isinstance(rate, torch.Tensor) and rate.device.type != "cpu"]
        on_host = [float(rate) for rate in rates if not any(rate is one for one in on_device)]
        others = self._others(device, on_device)
        watching, activations = self._announced(), self._activations_of_layers(device)
        units = self._equal_units(device)
        write = self._writer(self._file, watching, on_host, len(units), len(others))
        self._skipped, self._withheld, self._skipped_on_device = 0, 0, None
        values = torch.cat([self._finished(sums).flatten(), activations, units, others])
        self._recorder.outbox.put(values, write)

    def _others(self, device: torch.device, rates: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the values of loss functions, the attention logit, the skipped steps and the learning rates."""
        losses = self._losses.take()
        fields = (math.nan,) * len(LOSS_FIELDS) if losses is None else losses
        logit = self._attention.take()
        attention = torch.full((), math.nan, device=device) if logit is None else logit
        skipped = torch.zeros((), device=device) if self._skipped_on_device is None else self._skipped_on_device
        scalars = [one.to(device, torch.float32, non_blocking=True).reshape(1) for one in (attention, skipped, *rates)]
        return torch.cat([torch.as_tensor(fields, dtype=torch.float32).to(device, non_blocking=True), *scalars])

    def _equal_units(self, device: torch.device) -> torch.Tensor:
        """Return for each watched tensor whether its units are equal; empty after the first few observations."""
        if self._comparisons_left <= 0:
            return torch.empty(0, device=device)
        self._comparisons_left -= 1
        return torch.cat([optimizer.equal_units().to(device, non_blocking=True) for optimizer in self._optimizers])

    def _activations_of_layers(self, device: torch.device) -> torch.Tensor:
        """Return the statistics of activations, layer by layer; NaN for a layer that was not called."""
        if self._activations is None or self._layers is None:
            return torch.empty(0, device=device)
        return self._activations.take(self._layers.names, device).flatten()

    def _finished(self, sums: torch.Tensor) -> torch.Tensor:
        """Return the recorded statistics, tensor by tensor."""
        if self._statistics == KINDS["reach"]:
            return sums.sqrt().float()
        if self._constants is None:
            sizes = [one.tensor.numel() for one in self._watched]
            has_ratio = [1.0 if one.has_ratio else math.nan for one in self._watched]
            constants = torch.tensor([sizes, has_ratio], dtype=torch.float64)
            self._constants = constants.to(sums.device, non_blocking=True)
        return finished(sums, *self._constants)

    def _writer(
        self, file: StatisticsFile, watching: Watching, rates: Sequence[float], compared: int, others: int
    ) -> Callable[[list[float]], None]:
        """Return the function that records the observation once its values have arrived."""
        layers = self._layers
        assert layers is not None  # noqa: S101 - set together with `watching`
        measurement = Measurement(
            watching=watching,
            fed=[name in layers.fed for name in layers.names],
            step=self._recorder.next_step,
            rates=rates,
            skipped=self._skipped,
            withheld=self._withheld,
            clipped=any(optimizer.clipped for optimizer in self._optimizers),
            missing=[absent for optimizer in self._optimizers for absent in optimizer.missing],
            compared=compared,
            others=others,
        )

        def write(values: list[float]) -> None:
            row, checksum = file.append(measurement.row(values))
            self._recorder.append(measurement.observation(values, row, checksum))

        return write

    def _announced(self) -> Watching:
        """Return the watched tensors and layers; record them, with notes, at the first observation.

        By then, a forward pass has shown the order of the layers.
        """
        if self._watching is None:
            self._layers = layers = self._order.layers([watched.name for watched in self._watched])
            self._watching = Watching(
                layers=layers.names,
                tensors=tuple(watched.name for watched in self._watched),
                sizes=tuple(watched.tensor.numel() for watched in self._watched),
                layer_of=layers.layer_of,
                statistics=self._statistics,
                every=self._every,
                left_out=self._left_out,
                networks=layers.networks,
                activations=() if self._activations is None else ACTIVATIONS,
            )
            self._record(self._watching)
            for text in self._notes(layers):
                self._record(Noted(text=text))
        return self._watching

    def _notes(self, layers: Layers) -> list[str]:
        """Return sentences on what is not observed."""
        notes = [_by_reason(self._left_out)] if self._left_out else []
        if not self._order.met_any(layers.names):
            notes.append("no forward pass was observed, so the layers are in the order of their registration")
        if self._order.is_compiled and self._statistics == STATISTICS:
            notes.append("activations are not recorded, because hooks do not run in compiled code")
        longest = max((layers.networks.count(network) for network in layers.networks), default=0)
        if longest < FEWEST_LAYERS:
            counted = "its networks have at most" if len(set(layers.networks)) > 1 else "the model has"
            notes.append(
                f"reach is undefined, because it needs {FEWEST_LAYERS} layers that feed each other, and {counted} "
                f"{longest}"
            )
        return notes

    def _record(self, event: Event) -> None:
        self._recorder.outbox.put(None, lambda _: self._recorder.append(event))


def _safely_of(watch: Watch) -> Safely:
    """Return the watch's `_safely` for its own parts, without a cycle that would keep the optimizers in memory."""
    reference = weakref.ref(watch)

    def safely(action: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - that of the function
        alive = reference()
        return None if alive is None else alive._safely(action, *args)  # noqa: SLF001 - of the same module

    return safely


def _torch_optimizer(optimizer: object) -> torch.optim.Optimizer:
    """Return the torch optimizer inside the wrappers of accelerate or Lightning, which gets the hooks."""
    inner: Any = optimizer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    if not isinstance(inner, torch.optim.Optimizer):
        raise UsageError(f"watch(...): expected a torch.optim.Optimizer, got {type(optimizer).__name__}")
    return inner


def _then_once(closure: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    """Return the closure with a call of `then` after its first call; an optimizer may call it several times a step."""
    done = False

    def call(*args: object, **kwargs: object) -> object:
        nonlocal done
        result: object = closure(*args, **kwargs)
        if not done:
            done = True
            then()
        return result

    return call


def _by_reason(left_out: Mapping[str, str]) -> str:
    """Return the names of tensors that are left out, grouped by the reason, with at most `MOST_NAMES` each."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    parts = []
    for reason, tensors in names.items():
        more = f" and {len(tensors) - MOST_NAMES} more" if len(tensors) > MOST_NAMES else ""
        parts.append(f"{reason}: {', '.join(tensors[:MOST_NAMES])}{more}")
    return "; ".join(parts)
