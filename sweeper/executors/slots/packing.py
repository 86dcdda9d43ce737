"""Packing of trials on a device by the measured memory of a trial.

Until that is known each device runs one trial at a time, so that all memory in use belongs to that trial. The highest
peak of the trials that ended successfully counts, plus `division.MARGIN`. Allocators do not return memory, so sampling
twice a second finds nearly all of a peak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.executors.gpus.nvml import Nvml
from sweeper.executors.slots.division import MARGIN, Division, slots_of
from sweeper.record.reader import read_exit
from sweeper.record.storage.layout import AttemptDir

MEASURE_EVERY_S = 0.5
MIB = 2**20


@dataclass(slots=True)
class Packing:
    """Measures the device memory of attempts, and divides the machine accordingly.

    Attributes:
        division: The resources of the machine, and what a trial needs.
        nvml: Access to the management library.
        clock: Returns monotonic seconds.
        peak: The peak device memory of a trial in bytes; 0 if it is not known yet.
        notes: Messages for the user.
    """

    division: Division
    nvml: Nvml
    clock: Callable[[], float]
    peak: float = 0.0
    notes: list[str] = field(default_factory=list)
    _devices: dict[Path, str] = field(default_factory=dict)
    _peaks: dict[Path, int] = field(default_factory=dict)
    _measured_at: float = 0.0

    def slots(self) -> list[Slot]:
        """Return the slots for the peak that is known now."""
        self._finish_ended()
        self._measure()
        return slots_of(self.division.with_memory(self.peak) if self.peak else self.division)

    def watch(self, attempt: AttemptDir, slot: Slot) -> None:
        """Measure an attempt until it ends, if its slot is one whole device; otherwise do nothing."""
        match slot.devices:
            case [device] if slot.needs[device] == 1.0:
                self._devices[attempt.path] = device

    def peak_mb(self, attempt: AttemptDir) -> float | None:
        """Return the peak device memory of an attempt so far, in MiB; None if nothing was measured."""
        peak = self._peaks.get(attempt.path)
        return None if not peak else round(peak / MIB, 1)

    def _finish_ended(self) -> None:
        """Stop measuring attempts that have ended; a successful one may raise the peak."""
        ends = {path: ended for path in self._devices if (ended := read_exit(AttemptDir(path))) is not None}
        for path, ended in ends.items():
            del self._devices[path]
            if ended.code == 0 and self._peaks.get(path, 0) > self.peak:
                self.peak = self._peaks[path]
                measured = f"a trial was measured to use {self.peak / 1e9:.2f} GB of device memory"
                self.notes.append(f"{measured}, so trials are packed by that plus a margin of {MARGIN:.0%}")

    def _measure(self) -> None:
        if self._devices and self.clock() - self._measured_at >= MEASURE_EVERY_S:
            self._measured_at = self.clock()
            self._peaks |= {path: max(self._peaks.get(path, 0), self._used(on)) for path, on in self._devices.items()}

    def _used(self, device: str) -> int:
        """Return the bytes in use by CUDA processes on a device, or all that is in use if processes do not show it."""
        processes = [process for process in self.nvml.processes(device) or () if not process.graphics_only]
        if processes and all(process.memory is not None for process in processes):
            return sum(process.memory or 0 for process in processes)
        memory = self.nvml.memory(device)
        return 0 if memory is None else memory.used
