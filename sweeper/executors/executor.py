"""What every executor can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sweeper.record.storage.layout import AttemptDir, TrialDir

CORES = "cores"
"""Among what a slot needs: how many processor cores. Everything else there is a device, and which part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Room for one trial: a name for people, and the environment that keeps a worker within it.

    `needs` is what it takes of the machine: of `CORES` a number, of each device, by its identifier, a part up to 1. A
    slot that does not wait is used whoever else is there.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, float] = field(default_factory=dict)
    waits: bool = True

    @property
    def devices(self) -> list[str]:
        """The devices that it needs, whole or in part."""
        return [device for device in self.needs if device != CORES]

    @property
    def gpus(self) -> float:
        """How many devices it has in all."""
        return sum(self.needs[device] for device in self.devices)

    @property
    def alone(self) -> Slot:
        """The slot with its devices to itself."""
        return replace(self, needs={**self.needs, **dict.fromkeys(self.devices, 1.0)})


class HasFileno(Protocol):
    """What select(2) can wait for."""

    def fileno(self) -> int:
        """The descriptor."""


class Executor(Protocol):
    """Places attempts. It knows liveness only; how an attempt ended is read from its record.

    Where attempts run elsewhere, it also brings what they append, by itself and as it comes: an attempt lives until all
    of its record is here.
    """

    def slots(self) -> Sequence[Slot]:
        """All slots, free or not. They may become others, once it is known how much a trial takes."""

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:
        """Whether the slot is to be had now; if so, it is the attempt's until that ends, and it is launched next.

        Who else has it, and whether it is waited for, is among the `troubles`.
        """

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Start an attempt; `Launched` is on the record before this is called."""

    def stop(self, attempt: AttemptDir) -> None:
        """Ask the attempt to end after the step at hand."""

    def kill(self, attempt: AttemptDir) -> None:
        """End the attempt and all its descendants now."""

    def dump(self, attempt: AttemptDir) -> None:
        """Ask the attempt's processes that can for their stacks, into its output; nothing happens to the others."""

    def faults(self) -> Mapping[str, str]:
        """What is wrong with each slot that can no longer be used, by its name."""

    def avoid(self, node: str) -> bool:
        """Start nothing more on a machine (`record.claim.node_of`); False where there is no other, or no choice."""

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Whether any process of the attempt is, or may still come, alive."""

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:
        """The most device memory that the attempt was seen to take, in MiB, where that is measured."""

    def ends(self) -> Sequence[HasFileno]:
        """What becomes readable when an attempt ends of which no signal tells."""

    def troubles(self) -> Sequence[str]:
        """What a person should know of how attempts are started, each thing once."""

    def close(self) -> None:
        """Start no more. What runs goes on."""
