"""The watch: what gradients and updates look like, layer by layer, at every n-th optimizer step.

It hangs on the optimizers' own step hooks. At an observed step it takes the gradients before the step (or where the
loop says `look()`, which a loop that clips calls before clipping), keeps a copy of the watched tensors, and after the
step measures what the step did to them. All statistics of an observation leave the device as one stacked tensor.

A *step* is over once each optimizer has stepped: with one optimizer that is its step, with two that take turns it is a
turn of both, with a critic that steps four times for each step of the generator it is all five. An optimizer that has
not stepped while another one stepped `IDLE_AFTER` times is idle: a step no longer waits for it until it steps again.
"""

from __future__ import annotations

import array
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from sweeper.errors import UsageError
from sweeper.record.events import Event, Noted, Observation, Watching
from sweeper.record.journal import append_whole
from sweeper.record.layout import unwritable
from sweeper.record.profile import (
    ACTIVATIONS,
    FEWEST_LAYERS,
    STATISTICS,
    depth_profile,
    equal_units,
    median,
    reach,
    reaches,
    summary,
    weights,
)
from sweeper.worker.activations import Activations
from sweeper.worker.attention import AttentionLogits
from sweeper.worker.layers import ForwardOrder, Layers, choose, parameters_of, unwrapped
from sweeper.worker.losses import FIELDS as LOSS_FIELDS
from sweeper.worker.losses import Losses
from sweeper.worker.outbox import Outbox
from sweeper.worker.part import Part
from sweeper.worker.scaler import on_skipped, skips
from sweeper.worker.shards import add_up, ways_of
from sweeper.worker.statistics import finished

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

KINDS = {"full": STATISTICS, "reach": ("grad_norm",)}
MOST_NAMES = 8
IDLE_AFTER = 64
UNITS_LOOKED_AT = 5
"""Observations in which the units of a layer are compared: after that, equal units would have come apart."""


class Host(Protocol):
    """The trial, as the watch sees it: it counts steps, and takes what was seen."""

    outbox: Outbox

    @property
    def next_step(self) -> int:
        """The step that is about to be taken, from 0."""

    def stepped(self) -> None:
        """A step is over."""

    def append(self, event: Event) -> None:
        """Add to the record."""


class Watch:
    """Watches a model through its optimizers; made by `Trial.watch`.

    Raises:
        UsageError: an argument is not what it should be.
    """

    def __init__(  # noqa: PLR0913 - what is watched, for whom, and how
        self,
        model: torch.nn.Module,
        optimizers: Sequence[Any],
        host: Host,
        *,
        rows: Path | None,
        every: int,
        statistics: str,
        layers: Sequence[str] | None,
        include_bias: bool,
    ) -> None:
        """`rows` is the side file, None on a rank that does not write; the rest is what `Trial.watch` was given."""
        if every < 1:
            raise UsageError(f"watch(every=...): expected a number of steps above 0, got {every}")
        if statistics not in KINDS:
            raise UsageError(f"watch(statistics=...): expected one of {', '.join(KINDS)}, got {statistics!r}")
        norm_only = statistics == "reach"
        model, own = unwrapped(model), [_torch_optimizer(optimizer) for optimizer in optimizers]
        chosen, left_out = choose(model, own, layers=layers, include_bias=include_bias, layers_only=norm_only)
        self._host = host
        self._every = every
        self._statistics = KINDS[statistics]
        self._left_out = left_out
        self._parts = [Part(one, watched, norm_only=norm_only) for one, watched in zip(own, chosen, strict=True)]
        self._watched = [watched for part in self._parts for watched in part.watched]
        self._ways = ways_of([watched.tensor for watched in self._watched])
        # Sums over shards need every rank; of whole tensors it is enough that the rank that writes looks.
        self._looks = bool(self._watched) and (rows is not None or bool(self._ways))
        self._rows = Rows(rows) if rows is not None else None
        self._order = ForwardOrder(model)
        full = not norm_only and self._looks and not self._order.is_compiled
        self._activations = Activations(self._order.modules) if full and self._rows is not None else None
        self._losses = Losses()
        self._attention = AttentionLogits()
        self._units_left = UNITS_LOOKED_AT if full else 0
        self._layers: Layers | None = None
        self._watching: Watching | None = None
        self._constants: torch.Tensor | None = None
        self._skipped = 0
        self._skipped_on_device: torch.Tensor | None = None
        self._ends = [
            on_skipped(self._calls_of, self._skip),
            *(end for part in self._parts for end in self._hook(part)),
        ]
        host.append(parameters_of(model, own))
        self._prepare()
        if not self._watched:
            host.append(Noted(text=f"nothing is watched: {_by_reason(left_out) or 'the model has no such tensors'}"))

    @property
    def open(self) -> bool:
        """Whether it still watches."""
        return bool(self._ends)

    @property
    def due(self) -> bool:
        """Whether the step at hand is observed."""
        return self._looks and self._host.next_step % self._every == 0

    def look(self) -> None:
        """Take the gradients as they are now, before clipping; does nothing at a step that is not observed.

        With a gradient scaler call it after `scaler.unscale_(optimizer)`.
        """
        if self.due:
            for part in self._parts:
                if not part.stepped:
                    part.take_gradients(clipped=False)

    def close(self) -> None:
        """Stop watching."""
        for end in self._ends:
            end()
        self._ends.clear()
        if self._activations is not None:
            self._activations.take()
        self._losses.take()
        self._attention.take()
        if any(part.stepped for part in self._parts):
            self._end_turn()
        self._order.close()
        self._host.outbox.flush()
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    # ---- through a step ---------------------------------------------------------------------------------------------

    def _hook(self, part: Part) -> list[Callable[[], None]]:

        # Compiled, a hook would be part of the graph of the step.
        before = torch.compiler.disable(lambda _, args, kwargs: self._before_step(part, args, kwargs))
        after = torch.compiler.disable(lambda *_: self._after_step(part))
        return [
            part.optimizer.register_step_pre_hook(before).remove,
            part.optimizer.register_step_post_hook(after).remove,
        ]

    def _before_step(self, part: Part, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords] | None:
        self._order.close_if_seen()
        part.calls += 1
        self._begin_again(part)
        if not self.due or part.stepped:
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            part.before()
            return None
        # The backward pass happens in the closure: until that has run, the gradients are those of the last step.
        looking = _then_once(closure, part.before)
        return ((args[0], looking, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": looking})

    def _after_step(self, part: Part) -> None:

        again, part.stepped = part.stepped, True
        part.repeats += again
        part.idle = False
        skipped = skips(part.optimizer)
        if skipped is not None and self._looks:
            so_far = self._skipped_on_device
            self._skipped_on_device = skipped.clone() if so_far is None else so_far + skipped
        if self.due and not again:
            part.after()
        self._end_turn_if_all_stepped()

    def _begin_again(self, part: Part) -> None:
        """An optimizer that has stepped in this turn steps once more: do the others still have to step in it?"""
        if part.stepped and part.repeats >= IDLE_AFTER:
            for other in self._parts:
                other.idle = other.idle or not other.stepped
            self._end_turn()

    def _calls_of(self, optimizer: object) -> int:
        return sum(part.calls for part in self._parts if part.optimizer is optimizer)

    def _skip(self, optimizer: object) -> None:
        """A gradient scaler did not call the optimizer."""
        for part in self._parts:
            if part.optimizer is optimizer:
                self._begin_again(part)
                self._skipped += 1
                part.repeats += part.stepped
                part.stepped = True
                self._end_turn_if_all_stepped()

    def _end_turn_if_all_stepped(self) -> None:
        if all(part.stepped or part.idle for part in self._parts):
            self._end_turn()

    def _end_turn(self) -> None:
        due = self.due
        seen = [part.take() for part in self._parts]
        if due:
            self._emit([part.nothing() if sums is None else sums for part, sums in zip(self._parts, seen, strict=True)])
        self._host.stepped()
        self._prepare()

    def _prepare(self) -> None:
        """Have the activations measured in the step that begins, where it is observed."""
        if self._activations is not None and self.due:
            self._activations.open()
            self._losses.open()
            self._attention.open()

    # ---- from the device to the record ------------------------------------------------------------------------------

    def _emit(self, seen: Sequence[torch.Tensor]) -> None:

        device = seen[0].device
        sums = torch.cat([part.to(device, non_blocking=True) for part in seen], dim=1)
        if self._ways:
            sums = add_up(sums, self._ways)
        if self._rows is None:
            return
        rates = [group["lr"] for part in self._parts for group in part.optimizer.param_groups if "lr" in group]
        # A learning rate that a captured optimizer keeps on the device has to be waited for like everything else.
        there = [rate for rate in rates if isinstance(rate, torch.Tensor) and rate.device.type != "cpu"]
        here = [float(rate) for rate in rates if not any(rate is one for one in there)]
        skipped = torch.zeros((), device=device) if self._skipped_on_device is None else self._skipped_on_device
        seen_losses = self._losses.take()
        looked = (math.nan,) * len(LOSS_FIELDS) if seen_losses is None else seen_losses
        losses = torch.as_tensor(looked, dtype=torch.float32).to(device, non_blocking=True)
        logit = self._attention.take()
        attention = torch.full((), math.nan, device=device) if logit is None else logit
        rest = [value.to(device, torch.float32, non_blocking=True).reshape(1) for value in (attention, skipped, *there)]
        others = torch.cat([losses, *rest])
        watching, table = self._announced(), self._activations_table(device)
        units = self._units(device)
        write = self._writer(self._rows, watching, here, len(others), len(units))
        self._skipped, self._skipped_on_device = 0, None
        self._host.outbox.put(torch.cat([self._finished(sums).flatten(), table, units, others]), write)

    def _units(self, device: torch.device) -> torch.Tensor:
        """Return whether the units of each watched tensor are equal, in the first observations; empty after them."""
        if self._units_left <= 0:
            return torch.empty(0, device=device)
        self._units_left -= 1
        return torch.cat([part.equal_units().to(device, non_blocking=True) for part in self._parts])

    def _activations_table(self, device: torch.device) -> torch.Tensor:
        """The activations of all layers, layer by layer; NaN where a layer was not called."""
        if self._activations is None or self._layers is None:
            return torch.empty(0, device=device)
        seen = self._activations.take()
        unseen = torch.full((len(ACTIVATIONS),), math.nan, device=device)
        there = {name: values.to(device, non_blocking=True) for name, values in seen.items()}
        rows = [there.get(name, unseen) for name in self._layers.names]
        return torch.cat(rows) if rows else torch.empty(0, device=device)

    def _finished(self, sums: torch.Tensor) -> torch.Tensor:
        """The recorded statistics, tensor by tensor."""
        if self._statistics == KINDS["reach"]:
            return sums.sqrt().float()
        if self._constants is None:
            sizes = [one.tensor.numel() for one in self._watched]
            rated = [1.0 if one.rated else math.nan for one in self._watched]
            constants = torch.tensor([sizes, rated], dtype=torch.float64)
            self._constants = constants.to(sums.device, non_blocking=True)
        return finished(sums, *self._constants)

    def _writer(
        self, rows: Rows, watching: Watching, rates: Sequence[float], count: int, compared: int
    ) -> Callable[[list[float]], None]:
        """What puts an observation on the record once its values have come: a row, skipped steps, learning rates."""
        step, skipped, width = self._host.next_step, self._skipped, len(self._statistics)
        clipped = any(part.clipped for part in self._parts)
        missing = [absent for part in self._parts for absent in part.missing]
        layers = self._layers
        assert layers is not None  # noqa: S101 - announced before

        def write(values: list[float]) -> None:
            others = values[-count:]
            row, equal = values[: -count - compared], values[-count - compared : -count]
            looked, (logit, skipped_on_device, *more_rates) = others[: len(LOSS_FIELDS)], others[len(LOSS_FIELDS) :]
            tensors = row[: len(missing) * width]
            columns = {name: tensors[start::width] for start, name in enumerate(watching.statistics)}
            norms, ratios = columns["grad_norm"], columns.get("update_ratio", [])
            there = [norm for norm, absent in zip(norms, missing, strict=True) if not absent]
            zeros = [
                share
                for share, layer in zip(columns.get("grad_zero", []), watching.layer_of, strict=False)
                if layer >= 0 and not math.isnan(share)
            ]
            own = columns.get("param_norm", [])
            bad = sum(
                not (absent or math.isfinite(norm)) or not math.isfinite(weight)
                for norm, absent, weight in zip(norms, missing, own or [0.0] * len(norms), strict=True)
            )
            of_weights = weights(columns, watching, missing)
            if equal and not math.isnan(share := equal_units(equal, watching.layer_of, watching.networks, norms)):
                of_weights["equal_units"] = float(f"{share:.4g}")
            profile = depth_profile(norms, watching.sizes, watching.layer_of, len(watching.layers))
            lowest, first = _lowest_reach(profile, watching, missing)
            activations = summary(row[len(tensors) :], layers.networks, [name in layers.fed for name in layers.names])
            if not math.isnan(logit):
                activations["attention_logit"] = float(f"{logit:.4g}")
            activations |= {f"loss_{name}": v for name, v in zip(LOSS_FIELDS, looked, strict=True) if not math.isnan(v)}
            observation = Observation(
                step=step,
                row=rows.append(row),
                reach=lowest,
                reaches=first,
                update_ratio=median([one for one, absent in zip(ratios, missing, strict=False) if not absent]),
                gradient_norm=math.hypot(*there) if there else math.nan,
                gradient_zero=max(zeros, default=math.nan),
                learning_rate=max([*rates, *more_rates], default=math.nan),
                clipped=clipped,
                skipped=skipped + int(skipped_on_device),
                missing=sum(missing),
                not_finite=bad,
                activations=activations,
                weights=of_weights,
            )
            self._host.append(observation)

        return write

    def _announced(self) -> Watching:
        """Say once what the columns are; by now a forward pass has shown the order of the layers."""
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
            self._say(self._watching)
            if self._left_out:
                self._say(Noted(text=_by_reason(self._left_out)))
            if not self._order.met_any(layers.names):
                self._say(Noted(text="no forward pass was seen: the layers stand in the order of their registration"))
            if self._order.is_compiled and self._statistics == STATISTICS:
                self._say(Noted(text="activations are not recorded: hooks do not fire in compiled code"))
            longest = max((layers.networks.count(network) for network in layers.networks), default=0)
            if longest < FEWEST_LAYERS:
                counted = "its networks have at most" if len(set(layers.networks)) > 1 else "the model has"
                text = f"reach is undefined: it needs {FEWEST_LAYERS} layers that feed each other, {counted} {longest}"
                self._say(Noted(text=text))
        return self._watching

    def _say(self, event: Event) -> None:
        self._host.outbox.put(None, lambda _: self._host.append(event))


class Rows:
    """The side file of per-tensor statistics: fixed-width rows of little-endian float32, appended by one writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def append(self, values: Sequence[float]) -> int:
        """Append the statistics of all tensors, tensor by tensor; returns the number of the row.

        Raises:
            Unwritable: the disk is full or gone; the file is as it was.
        """
        row = array.array("f", values)
        if sys.byteorder == "big":
            row.byteswap()
        data = row.tobytes()
        size = os.fstat(self._file.fileno()).st_size
        filler = bytes(-size % len(data))  # where the last row is torn all the same, so that rows stay aligned
        try:
            append_whole(self._file.fileno(), filler + data)
        except OSError as error:
            raise unwritable(self._path, error) from error
        return (size + len(filler)) // len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _torch_optimizer(optimizer: object) -> torch.optim.Optimizer:
    """The optimizer that others (accelerate's, Lightning's) wrap: hooks go on that one."""
    inner: Any = optimizer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    if not isinstance(inner, torch.optim.Optimizer):
        raise UsageError(f"watch(...): expected a torch.optim.Optimizer, got {type(optimizer).__name__}")
    return inner


def _then_once(closure: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    """The closure, with `then` called after its first call: an optimizer may call it several times a step."""
    done = False

    def call(*args: object, **kwargs: object) -> object:
        nonlocal done
        result: object = closure(*args, **kwargs)
        if not done:
            done = True
            then()
        return result

    return call


def _lowest_reach(profile: Sequence[float], watching: Watching, missing: Sequence[bool]) -> tuple[float, int]:
    """The smallest reach of a network, and the first layer that its gradient reaches; NaN and -1 where none is defined.

    Layers none of whose tensors had a gradient, such as an unused head, are left out.
    """
    got = {layer for layer, absent in zip(watching.layer_of, missing, strict=True) if not absent}
    lowest, first = math.nan, -1
    for network in sorted(set(watching.networks)):
        members = [i for i, one in enumerate(watching.networks) if one == network and i in got]
        part = [profile[i] for i in members]
        if not reach(part) >= lowest:
            lowest, seen = reach(part), reaches(part)
            first = members[seen] if 0 <= seen < len(members) else seen
    return lowest, first


def _by_reason(left_out: Mapping[str, str]) -> str:
    """Who was left out of what, reason by reason, the first few of each by name."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    parts = []
    for reason, tensors in names.items():
        more = f" and {len(tensors) - MOST_NAMES} more" if len(tensors) > MOST_NAMES else ""
        parts.append(f"{reason}: {', '.join(tensors[:MOST_NAMES])}{more}")
    return "; ".join(parts)
