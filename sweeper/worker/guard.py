"""The decision before a step of an optimizer: is it taken, or skipped because its loss or its gradient is far out?

To skip a step, its loss and its gradient norm have to be known before it, so with `on_spike: skip` the training loop
waits for the device once a step, and several ranks exchange a small message. Otherwise nothing waits: the values are
recorded once they have arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sweeper.record.on_spike import OnSpike
from sweeper.worker.ranks import Ranks
from sweeper.worker.recorder import Recorder

if TYPE_CHECKING:
    import torch


class Guard:
    """Decides on the steps of one trial."""

    def __init__(self, recorder: Recorder, ranks: Ranks) -> None:
        """Make the guard of a trial."""
        self._recorder = recorder
        self._ranks = ranks

    @property
    def may_skip(self) -> bool:
        """Whether a step can be skipped, so that the decision waits for the device."""
        spikes = self._recorder.spikes
        return spikes.action is OnSpike.SKIP and not spikes.exhausted

    def may_step(self, values: Mapping[str, float | torch.Tensor], *, step: int) -> bool:
        """Return whether the step is to be taken, and record a spike.

        Args:
            values: the loss and the gradient norm by name: numbers, or tensors with one element.
            step: the step.

        Raises:
            Unwritable: the record cannot be written.
        """
        recorder, spikes = self._recorder, self._recorder.spikes
        spikes.is_guarded = True
        if spikes.action is OnSpike.OFF:
            return True
        if not self.may_skip:
            if recorder.writes:
                self._record(values, step)
            return True
        names, tensor = _stacked(values)
        known = [] if tensor is None else tensor.tolist()  # waits for the device
        found = spikes.worst({**_on_host(values), **dict(zip(names, known, strict=True))})
        (anywhere,) = self._ranks.any(found is not None)
        may, events = spikes.decide(step, found, anywhere=anywhere)
        if events:
            recorder.outbox.put(None, lambda _: recorder.extend(events))  # in the order of the steps
        return may

    def _record(self, values: Mapping[str, float | torch.Tensor], step: int) -> None:
        names, tensor = _stacked(values)
        known, recorder = _on_host(values), self._recorder

        def write(arrived: list[float]) -> None:
            events = recorder.spikes.recorded(step, {**known, **dict(zip(names, arrived, strict=True))})
            if events:
                recorder.extend(events)

        recorder.outbox.put(tensor, write)


def gradient_norm(parameters: Iterable[torch.Tensor], scale: torch.Tensor | None = None) -> torch.Tensor | None:
    """Return the Euclidean norm over all gradients, 0-d, on the device of the first; None if there are none.

    With sharded gradients, it is the norm of the shards on this rank.

    Args:
        parameters: the parameters.
        scale: the factor by which a gradient scaler has multiplied the gradients.
    """
    import torch

    from sweeper.worker.watch.shards import local

    by_device: dict[Any, list[torch.Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is None:
            continue
        gradient = local(parameter.grad)
        gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
        if gradient.numel():
            wide = gradient.dtype if gradient.dtype == torch.float64 else torch.float32
            by_device.setdefault((gradient.device, gradient.is_complex() or wide), []).append(gradient)
    if not by_device:
        return None
    norms: list[torch.Tensor] = []
    for (_, wide), gradients in by_device.items():
        dtype = None if wide is True else wide
        norms += torch._foreach_norm(gradients, 2, dtype=dtype)
    device = norms[0].device
    together = torch.stack([one.to(device, torch.float32, non_blocking=True) for one in norms])
    total: torch.Tensor = torch.linalg.vector_norm(together)
    return total if scale is None else total / scale.to(device, non_blocking=True).reshape(())


def _on_host(values: Mapping[str, float | torch.Tensor]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, float)}


def _stacked(values: Mapping[str, float | torch.Tensor]) -> tuple[list[str], torch.Tensor | None]:
    """Return the names of the tensors among the values, and these tensors as one; None if there are none."""
    tensors = {name: value.detach() for name, value in values.items() if not isinstance(value, float)}
    if not tensors:
        return [], None
    import torch

    device = next(iter(tensors.values())).device
    parts = [one.to(device, torch.float32, non_blocking=True).reshape(()) for one in tensors.values()]
    return list(tensors), torch.stack(parts)
