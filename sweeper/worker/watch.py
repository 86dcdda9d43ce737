"""The watch: what gradients and updates look like, layer by layer, at every n-th optimizer step.

It hangs on the optimizer's own step hooks. At an observed step it takes the gradients before the step (or where the
loop says `look()`, which a loop that clips calls before clipping), keeps a copy of the watched tensors, and after the
step measures what the step did to them. All statistics of an observation leave the device as one stacked tensor.
"""

from __future__ import annotations

import array
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweeper.record.events import Event, Noted, Observation, Watching
from sweeper.record.profile import FEWEST_LAYERS, STATISTICS, depth_profile, median, reach

if TYPE_CHECKING:
    import torch

    from sweeper.worker.outbox import Outbox


class Host(Protocol):
    """The trial, as the watch sees it: it counts steps, and takes what was seen."""

    outbox: Outbox

    @property
    def next_step(self) -> int:
        """The step that the optimizer is about to take, from 0."""

    def stepped(self) -> None:
        """The optimizer took a step."""

    def append(self, event: Event) -> None:
        """Add to the record."""


class Watch:
    """Watches a model through its optimizer; made by `Trial.watch`."""

    def __init__(  # noqa: PLR0913 - what is watched, for whom, and how
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        host: Host,
        *,
        rows: Rows,
        every: int,
        include_bias: bool,
    ) -> None:
        from sweeper.worker.layers import ForwardOrder, choose

        self._optimizer = optimizer
        self._host = host
        self._rows = rows
        self._every = every
        self._watched, self._left_out = choose(model, include_bias=include_bias)
        self._order = ForwardOrder(model)
        self._watching: Watching | None = None
        self._gradients: torch.Tensor | None = None
        self._before: list[torch.Tensor] = []
        self._clipped = True
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    @property
    def due(self) -> bool:
        """Whether the step at hand is observed."""
        return bool(self._watched) and self._host.next_step % self._every == 0

    def look(self) -> None:
        """Take the gradients as they are now, before clipping; does nothing at a step that is not observed."""
        if self.due:
            self._take_gradients(clipped=False)

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()
        self._order.close()
        self._rows.close()

    def _before_step(self, *_: Any) -> None:
        if self.due:
            if self._gradients is None:
                self._take_gradients(clipped=True)
            self._copy_parameters()

    def _after_step(self, *_: Any) -> None:
        if self.due and self._gradients is not None:
            self._emit(self._gradients)
            self._gradients = None
        self._host.stepped()

    def _take_gradients(self, *, clipped: bool) -> None:
        from sweeper.worker.statistics import gradient_statistics

        self._gradients = gradient_statistics([watched.tensor.grad for watched in self._watched])
        self._clipped = clipped

    def _copy_parameters(self) -> None:
        import torch

        tensors = [watched.tensor.detach() for watched in self._watched]
        if not self._before:
            self._before = [torch.empty_like(tensor) for tensor in tensors]
        torch._foreach_copy_(self._before, tensors)

    def _emit(self, gradients: torch.Tensor) -> None:
        import torch

        from sweeper.worker.statistics import update_statistics

        after = [watched.tensor.detach() for watched in self._watched]
        stacked = torch.cat([gradients, update_statistics(self._before, after).to(gradients.device)])
        step, rate, clipped, watching = self._host.next_step, self._learning_rate(), self._clipped, self._announced()

        def write(values: list[float]) -> None:
            columns = self._columns(values)
            profile = depth_profile(columns[4], watching.sizes, watching.layer_of, len(watching.layers))
            observation = Observation(
                step=step,
                row=self._rows.append(columns),
                reach=reach(profile),
                update_ratio=median(columns[7]),
                learning_rate=rate,
                clipped=clipped,
            )
            self._host.append(observation)

        self._host.outbox.put(stacked, write)

    def _columns(self, values: list[float]) -> list[list[float]]:
        """The values statistic by statistic, with the update ratio as the eighth."""
        width = len(self._watched)
        columns = [values[start : start + width] for start in range(0, len(values), width)]
        ratios = [
            update / norm if watched.rated and norm > 0 else math.nan
            for watched, norm, update in zip(self._watched, columns[5], columns[6], strict=True)
        ]
        return [*columns, ratios]

    def _announced(self) -> Watching:
        """Say once what the columns are; by now a forward pass has shown the order of the layers."""
        if self._watching is None:
            layers, layer_of = self._order.layers([watched.name for watched in self._watched])
            self._watching = Watching(
                layers=tuple(layers),
                tensors=tuple(watched.name for watched in self._watched),
                sizes=tuple(watched.tensor.numel() for watched in self._watched),
                layer_of=tuple(layer_of),
                statistics=STATISTICS,
                every=self._every,
                left_out=self._left_out,
            )
            self._say(self._watching)
            if len(layers) < FEWEST_LAYERS:
                self._say(Noted(text=f"reach is undefined: it needs {FEWEST_LAYERS} layers, {len(layers)} are watched"))
        return self._watching

    def _say(self, event: Event) -> None:
        self._host.outbox.put(None, lambda _: self._host.append(event))

    def _learning_rate(self) -> float:
        return max((float(group["lr"]) for group in self._optimizer.param_groups if "lr" in group), default=math.nan)


class Rows:
    """The side file of per-tensor statistics: fixed-width rows of little-endian float32, appended by one writer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def append(self, columns: list[list[float]]) -> int:
        """Append the statistics of all tensors, tensor by tensor; returns the number of the row."""
        row = array.array("f", [value for tensor in zip(*columns, strict=True) for value in tensor])
        if sys.byteorder == "big":
            row.byteswap()
        data = row.tobytes()
        size = self._file.tell()
        if torn := size % len(data):  # a full disk cut the last row: fill it up, so that rows stay aligned
            size += self._file.write(bytes(len(data) - torn)) or 0
        self._file.write(data)
        return size // len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
