"""All trials of a run, read again and again at a cost that depends on what has changed, not on how many there are.

A trial without a running attempt rests: it changes only if something is appended to its `control.jsonl`, as when it is
launched or revived, or if its record is edited. So of resting trials, only this file is looked at, and all files once
in a while; if there are many, in turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sweeper.errors import RecordError
from sweeper.record.ended import EndedTrials, without_garbage_collection
from sweeper.record.marks import Marks, has_changed, marks_before, marks_of
from sweeper.record.reader import TrialReader, open_trials
from sweeper.record.storage.confined import TRIALS
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import HistoryEntry, TrialRecord
from sweeper.results.health.trial_health import StandaloneHealth, is_standalone

MOST_LOOKED_AT, MOST_CHECKED = 2_500, 250
"""Resting trials of which one file, and all files, are looked at in one call; of more, the others have later turns."""
CONTROL = "control.jsonl"
"""The file of a resting trial that is looked at."""
SETTLED_S = 2.0
"""Seconds after which another entry of a directory certainly changes the time of the directory."""


@dataclass(slots=True)
class TrialSet:
    """The trials of a run, as they were at the last `poll`.

    Attributes:
        run: the run.
        trials: the trials that can be read, by number, in the order of their numbers.
        unreadable: why others cannot be read, by number.
    """

    run: SweepDir
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)
    _cached: EndedTrials | None = None
    _readers: dict[int, TrialReader] = field(default_factory=dict)
    _health: dict[int, StandaloneHealth] = field(default_factory=dict)
    _resting: dict[int, Marks] = field(default_factory=dict)
    _turn: int = 0
    _listed_at: int = -1
    _urgent: set[int] = field(default_factory=set)

    def look_at(self, numbers: Iterable[int]) -> None:
        """Read these trials in the next call of `poll`, also if they rest."""
        self._urgent.update(numbers)

    def poll(self) -> set[int]:
        """Read what was appended since the last call; return the numbers of the trials that are new, changed or gone.

        The trials that cannot be read, or not any more, are in `unreadable` after the call, and not in `trials`.
        """
        before, known = self.trials, dict(self.trials)
        if self._cached is None:
            with without_garbage_collection():
                self._cached = EndedTrials(self.run)
                known.update(self._cached.trials)
                self._read_active(known)
        else:
            self._look_at_resting(self._cached, known)
            self._read_active(known)
        changed = {number for number, trial in known.items() if before.get(number) is not trial}
        changed |= before.keys() - known.keys()
        self.trials = {number: known[number] for number in sorted(known)} if before.keys() != known.keys() else known
        return changed

    def _read_active(self, known: dict[int, TrialRecord]) -> None:
        """Read what was appended to the trials that do not rest, and to the new ones."""
        self._open_new(known)
        for number, reader in [one for one in self._readers.items() if one[0] not in self._resting]:
            self._read(number, reader, known)

    def _look_at_resting(self, cached: EndedTrials, known: dict[int, TrialRecord]) -> None:
        """Drop the cached trials that have changed, and have the others that have changed read again."""
        numbers = sorted([*cached.trials, *self._resting])  # else those that are read again would jump the queue
        few = _turn(numbers, self._turn, MOST_LOOKED_AT)
        thorough = {*_turn(numbers, self._turn, MOST_CHECKED), *(self._urgent & {*numbers})}
        self._urgent, self._turn = set(), self._turn + 1
        for number in {*few, *thorough}:
            only = "" if number in thorough else CONTROL
            if number in self._resting:
                if has_changed(known[number].directory, self._resting[number], only=only):
                    del self._resting[number]
            elif cached.has_changed(number, only=only):
                del cached.trials[number], known[number]
                self._listed_at = -1

    def _open_new(self, known: dict[int, TrialRecord]) -> None:
        """Open the trials that are new, if the directory of trials has changed or had such that could not be opened."""
        changed_at = _changed_at(self.run)
        if self._listed_at == changed_at and not self.unreadable:
            return
        opened, self.unreadable = open_trials(self.run, {*known, *self._readers})
        self._readers |= {reader.trial.facts.number: reader for reader in opened}
        is_settled = time.time() - changed_at / 1e9 > SETTLED_S
        is_whole = is_settled and not self.run.entries({*known, *self._readers})  # none is still being made
        self._listed_at = changed_at if is_whole else -1

    def _read(self, number: int, reader: TrialReader, known: dict[int, TrialRecord]) -> None:
        before, marks = reader.trial, marks_before(reader)
        try:
            entries = reader.poll()
        except RecordError as error:
            self.unreadable[number] = str(error)
            del self._readers[number]
            known.pop(number, None)
            return
        known[number] = self._diagnosed(number, reader, entries)
        rests = known[number].newest.end is not None or not known[number].attempts
        # A line without an end is not read, so the size of such a file never is what was read.
        if rests and (found := marks_of(reader) or (marks if reader.trial is before else {})):
            self._resting[number] = found

    def _diagnosed(self, number: int, reader: TrialReader, entries: Sequence[HistoryEntry]) -> TrialRecord:
        if number not in self._health and not is_standalone(reader.trial):
            return reader.trial
        return self._health.setdefault(number, StandaloneHealth()).take(reader, entries)


def _turn(numbers: list[int], turn: int, most: int) -> list[int]:
    """Return at most so many of the numbers, in each turn the next ones."""
    parts = -(-len(numbers) // most)
    return numbers if parts <= 1 else numbers[turn % parts :: parts]


def _changed_at(run: SweepDir) -> int:
    """Return when an entry of the directory of trials was last added or removed, in nanoseconds since the epoch."""
    try:
        return (run.path / TRIALS).stat().st_mtime_ns
    except OSError:
        return -1
