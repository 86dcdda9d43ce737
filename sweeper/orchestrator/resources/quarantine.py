"""Which slots of a sweep may still be used: not where attempt after attempt dies by no fault of its script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sweeper.executors.executor import Slot
from sweeper.record.causes import Cause
from sweeper.record.trial import Trial

ENDS_IN_A_ROW = 3
OF_TRIALS = 2
"""So many ends in a row, of at least so many trials, and the place is what they have in common."""

_SPEAKS_AGAINST_PLACE = frozenset({Cause.KILLED, Cause.LOST, Cause.HUNG, Cause.NOT_FOUND})


def measured_peak_mb(trials: Iterable[Trial]) -> float:
    """The most device memory that a trial took which had its device to itself and ended well; 0 where none did."""
    return max(
        (
            measured.device_peak_mb
            for trial in trials
            for attempt, measured in trial.control.measured.items()
            if attempt in trial.exits and trial.exits[attempt].code == 0
        ),
        default=0.0,
    )


@dataclass(slots=True)
class Ends:
    """How attempts ended, place by place, since one last ended there as it should."""

    _ends: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def speak_against(self, place: str, *, number: int, cause: str, asked: bool) -> str:
        """Take in how an attempt of a trial ended at a place; returns why nothing more is to be launched there, or "".

        Args:
            asked: whether it was asked here to end.
        """
        if asked or cause not in _SPEAKS_AGAINST_PLACE:
            self._ends.pop(place, None)
            return ""
        ends = self._ends.setdefault(place, [])
        ends.append((number, cause))
        if len(ends) < ENDS_IN_A_ROW or len({of for of, _ in ends[-ENDS_IN_A_ROW:]}) < OF_TRIALS:
            return ""
        told = ", ".join(f"{of:04d} {how}" for of, how in ends[-ENDS_IN_A_ROW:])
        return f"{ENDS_IN_A_ROW} attempts in a row ended there by no error of a script: {told}"

    def forget(self) -> None:
        """Start anew: it is known now what was behind them."""
        self._ends.clear()


@dataclass(slots=True)
class Slots:
    """The slots by name; `quarantined` says of some why nothing is launched there, for as long as this object lives."""

    all: dict[str, Slot]
    quarantined: dict[str, str] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, slots: Iterable[Slot]) -> Slots:
        """Slots of which none is quarantined."""
        return cls({slot.name: slot for slot in slots})

    @property
    def usable(self) -> Sequence[str]:
        """The names of the slots that may be used, taken or not."""
        return [name for name in self.all if name not in self.quarantined]

    def free(self, taken: AbstractSet[str]) -> Sequence[str]:
        """The names of the usable slots that no trial has; last those that were not to be had when asked for last."""
        return sorted((name for name in self.usable if name not in taken), key=self._refused.__contains__)

    def take_in(self, slots: Iterable[Slot]) -> None:
        """Let these be the slots from now on."""
        self.all = {slot.name: slot for slot in slots}

    def answered(self, name: str, *, reserved: bool) -> bool:
        """Take in whether a slot was to be had, and return it."""
        (self._refused.discard if reserved else self._refused.add)(name)
        return reserved

    def quarantine(self, name: str, why: str) -> bool:
        """Use a slot no more; False where it is none of these, or is quarantined already."""
        if name not in self.all or name in self.quarantined:
            return False
        self.quarantined[name] = why
        return True
