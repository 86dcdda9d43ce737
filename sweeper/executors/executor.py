"""The interface that every executor implements, and the slots on which it starts trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sweeper.record.storage.layout import AttemptDir, TrialDir

CORES = "cores"
"""The key in `Slot.needs` for a number of processor cores. Every other key is the identifier of a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Resources for one trial.

    Attributes:
        name: The name of the slot, as users see it.
        environment: The variables that restrict a worker to the resources of the slot.
        needs: What the slot takes of the machine: under `CORES` a number of cores, under the identifier of a device the
            fraction of it, up to 1.
        waits: Whether a trial waits until others have released these resources. If not, they are used in any case.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, float] = field(default_factory=dict)
    waits: bool = True

    @property
    def devices(self) -> list[str]:
        """The identifiers of the devices that the slot has, whole or in part."""
        return [device for device in self.needs if device != CORES]

    @property
    def gpus(self) -> float:
        """The number of devices that the slot has; fractions are added up."""
        return sum(self.needs[device] for device in self.devices)

    @property
    def exclusive(self) -> Slot:
        """The same slot with its devices as a whole."""
        return replace(self, needs={**self.needs, **dict.fromkeys(self.devices, 1.0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """What is in the way of a trial that waits for a slot.

    Attributes:
        text: It as a clause, for users.
        sweep: The directory of another sweep, if it is one; otherwise empty.
    """

    text: str
    sweep: str = ""


class HasFileno(Protocol):
    """An object that select(2) can wait for."""

    def fileno(self) -> int:
        """Return the file descriptor."""


class Executor(Protocol):
    """Starts, signals and watches attempts. It reports liveness only; how an attempt ended is read from its record.

    An executor that runs attempts on other machines also transfers what they append to their record, without being
    asked. It reports an attempt as alive until all of its record has arrived.
    """

    def slots(self) -> Sequence[Slot]:
        """Return all slots, free or in use. They can change once the memory of a trial was measured."""

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:
        """Reserve a slot for an attempt, which is launched next.

        Returns:
            Whether the slot was free; then it belongs to the attempt until that ends. If it was not free, `troubles`
            reports what has it.
        """

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Start an attempt. The caller has recorded `Launched` before."""

    def stop(self, attempt: AttemptDir) -> None:
        """Ask an attempt to end after its current step."""

    def kill(self, attempt: AttemptDir) -> None:
        """End an attempt and all its descendants immediately."""

    def dump(self, attempt: AttemptDir) -> None:
        """Have the processes of an attempt write their stacks to its output, if they handle that signal."""

    def faults(self) -> Mapping[str, str]:
        """Return why slots can no longer be used, by the name of the slot. Slots that work are left out."""

    def avoid(self, node: str) -> bool:
        """Start nothing more on a machine.

        Args:
            node: The name of the machine, as `record.storage.claim.node_of` returns it.

        Returns:
            False if there is no other machine, or if the executor does not choose machines.
        """

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Return whether any process of the attempt is alive or may still start."""

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:
        """Return the peak device memory of the attempt so far, in MiB; None if it was not measured."""

    def ends(self) -> Sequence[HasFileno]:
        """Return objects that become readable when an attempt ends for which the kernel sends no SIGCHLD."""

    def troubles(self) -> Sequence[str]:
        """Return messages for the user about problems with starting attempts, without repetitions."""

    def waits_for(self) -> Sequence[Blocker]:
        """Return what is in the way of the slots that could not be reserved now."""

    def close(self) -> None:
        """Start no more attempts and release what this object holds. Running attempts continue."""
