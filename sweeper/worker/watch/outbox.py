"""A queue that brings tensors from a device to the record without waiting for the device.

A tensor on an accelerator is copied to pinned memory asynchronously, and read at a later call, once the copy is
complete. Later values wait for it, so that the record has the order of the calls. A tensor on the CPU, or no tensor, is
passed on at once if the queue is empty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Then = Callable[[list[float]], None]


@dataclass(frozen=True, slots=True)
class _Pending:
    host: torch.Tensor | None
    arrived: Any
    then: Then


class Outbox:
    """A queue of values in the order of their calls."""

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque()

    def put(self, tensor: torch.Tensor | None, then: Then) -> None:
        """Call `then` with the flat values of a tensor, or an empty list without one, now or at a later call."""
        self.drain()
        if tensor is not None and tensor.device.type == "cuda":
            self._pending.append(_copying(tensor, then))
        elif self._pending:
            self._pending.append(_Pending(tensor, None, then))
        else:
            then(_values(tensor))

    def drain(self) -> None:
        """Pass on the values that have arrived."""
        while self._pending and (self._pending[0].arrived is None or self._pending[0].arrived.query()):
            self._pass_on()

    def flush(self) -> None:
        """Wait for all values, and pass them on."""
        while self._pending:
            if self._pending[0].arrived is not None:
                self._pending[0].arrived.synchronize()
            self._pass_on()

    def _pass_on(self) -> None:
        pending = self._pending.popleft()
        pending.then(_values(pending.host))


def _copying(tensor: torch.Tensor, then: Then) -> _Pending:
    import torch

    source = tensor.detach().float().contiguous()
    host = torch.empty(source.shape, dtype=source.dtype, device="cpu", pin_memory=True)
    host.copy_(source, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(source.device))
    return _Pending(host, arrived, then)


def _values(tensor: torch.Tensor | None) -> list[float]:
    if tensor is None:
        return []
    values: list[float] = tensor.detach().flatten().tolist()
    return values
