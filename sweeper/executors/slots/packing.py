"""Trials packed on a device by the memory that one of them was measured to take.

Until that is known each device runs one trial: whoever has a device to itself shows what a trial takes. The highest of
those that ended well counts, and `division.MARGIN` more is set aside. Allocators keep what they once had, so that looks
half a second apart see nearly all of a peak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.executors.gpus.nvml import Nvml
from sweeper.executors.slots.division import MARGIN, Division, slots_of
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.trial import read_exit

LOOK_EVERY_S = 0.5
MIB = 2**20


@dataclass(slots=True)
class Packing:
    """Measures attempts, and divides the machine by that. `peak` is in bytes, 0 where it is not known yet."""

    division: Division
    nvml: Nvml
    clock: Callable[[], float]
    peak: float = 0.0
    notes: list[str] = field(default_factory=list)
    _watched: dict[Path, str] = field(default_factory=dict)
    _peaks: dict[Path, int] = field(default_factory=dict)
    _looked: float = 0.0

    def slots(self) -> list[Slot]:
        """The slots, by what is known now."""
        self._look()
        return slots_of(self.division.packed(self.peak) if self.peak else self.division)

    def watch(self, attempt: AttemptDir, slot: Slot) -> None:
        """Measure an attempt that has its device to itself, until it has ended."""
        match slot.devices:
            case [device] if slot.needs[device] == 1.0:
                self._watched[attempt.path] = device

    def peak_mb(self, attempt: AttemptDir) -> float | None:
        """The peak of an attempt so far, in MiB; None where nothing was seen."""
        peak = self._peaks.get(attempt.path)
        return None if not peak else round(peak / MIB, 1)

    def _look(self) -> None:
        """Take in who has ended, and look at the others, if it is time to."""
        ends = {path: ended for path in self._watched if (ended := read_exit(AttemptDir(path))) is not None}
        for path, ended in ends.items():
            del self._watched[path]
            if ended.code == 0 and self._peaks.get(path, 0) > self.peak:
                self.peak = self._peaks[path]
                told = f"a trial was measured to take {self.peak / 1e9:.2f} GB of its device"
                self.notes.append(f"{told}; with {MARGIN:.0%} more set aside for each, they are packed by that")
        if self._watched and self.clock() - self._looked >= LOOK_EVERY_S:
            self._looked = self.clock()
            self._peaks |= {path: max(self._peaks.get(path, 0), self._taken(of)) for path, of in self._watched.items()}

    def _taken(self, device: str) -> int:
        """What computing processes have of a device: by the process, or where that is not told, all that is used."""
        there = [one for one in self.nvml.processes(device) or () if not one.draws]
        if there and all(one.memory is not None for one in there):
            return sum(one.memory or 0 for one in there)
        memory = self.nvml.memory(device)
        return 0 if memory is None else memory.used
