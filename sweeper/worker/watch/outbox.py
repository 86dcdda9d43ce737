"""The way from tensors to the record without waiting for a device.

A tensor on an accelerator is copied to pinned memory asynchronously and read at a later call, once its event has
come; whatever is put after it waits behind it, so that the record keeps the order of the calls. A tensor on the CPU,
or none, is handed on at once where nothing is ahead of it.
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
    """A queue of values on their way to the host, in order."""

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque()

    def put(self, tensor: torch.Tensor | None, then: Then) -> None:
        """Call `then` with the flat values of a tensor (none: an empty list), now or at a later call."""
        self.drain()
        if tensor is not None and tensor.device.type == "cuda":
            self._pending.append(_on_its_way(tensor, then))
        elif self._pending:
            self._pending.append(_Pending(tensor, None, then))
        else:
            then(_values(tensor))

    def drain(self) -> None:
        """Hand on what has arrived."""
        while self._pending and (self._pending[0].arrived is None or self._pending[0].arrived.query()):
            self._hand_on()

    def flush(self) -> None:
        """Wait for everything, and hand it on."""
        while self._pending:
            if self._pending[0].arrived is not None:
                self._pending[0].arrived.synchronize()
            self._hand_on()

    def _hand_on(self) -> None:
        pending = self._pending.popleft()
        pending.then(_values(pending.host))


def _on_its_way(tensor: torch.Tensor, then: Then) -> _Pending:
    import torch

    source = tensor.detach().float().contiguous()
    host = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
    host.copy_(source, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(source.device))
    return _Pending(host, arrived, then)


def _values(tensor: torch.Tensor | None) -> list[float]:
    if tensor is None:
        return []
    values: list[float] = tensor.detach().flatten().tolist()
    return values
