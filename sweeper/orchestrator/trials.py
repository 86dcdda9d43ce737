"""Keep the trials of a sweep as they were last read, sorted by state, and read what is appended to their records.

1. A trial that has ended is not read again unless this orchestrator appends to its record. Its history is forgotten.
2. A running trial is read when inotify reports a change, and every `READ_ALL_EVERY_S` seconds in any case. A trial that
   inotify does not watch is read at every refresh.
3. A waiting trial is not read, because only this orchestrator writes to its record.

A refresh therefore costs as much as there is to read, however many trials the sweep has.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from sweeper.errors import RecordError
from sweeper.orchestrator.follower import Follower
from sweeper.orchestrator.io.inotify import AttemptWatcher
from sweeper.record.launch_order import queued
from sweeper.record.reader import TrialReader
from sweeper.record.trial import State, TrialRecord
from sweeper.rules.rule import Rule

READ_ALL_EVERY_S = 5.0


class Trials:
    """The trials of a sweep, by number.

    Attributes:
        followers: the readers of the trials that have not ended, or have ended just now.
        unreadable: trials with a record that became unreadable, as they were last read.
        preferred: numbers of trials to launch before all others, in this order.
    """

    def __init__(
        self, rules: Sequence[Rule], watcher: AttemptWatcher, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.followers: dict[int, Follower] = {}
        self.unreadable: dict[int, TrialRecord] = {}
        self.preferred: tuple[int, ...] = ()
        self._rules = rules
        self._watcher = watcher
        self._clock = clock
        self._last_full_read = clock()
        self._all: dict[int, TrialRecord] = {}
        self._numbers: Mapping[State, list[int]] = {state: [] for state in State}
        self._changed: dict[int, None] = {}
        self._watched: dict[int, int] = {}
        self._ended: list[int] = []
        self._newly_unreadable: list[tuple[TrialRecord, str]] = []

    # ---- which trials there are ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, number: int) -> bool:
        return number in self._all

    def __getitem__(self, number: int) -> TrialRecord:
        return self._all[number]

    @property
    def all(self) -> list[TrialRecord]:
        """All trials, by number."""
        return list(self._all.values())

    def count(self, *states: State) -> int:
        """Return how many trials are in one of the states."""
        return sum(len(self._numbers[state]) for state in states)

    def in_state(self, state: State) -> list[TrialRecord]:
        """Return the trials in a state, by number."""
        return [self._all[number] for number in self._numbers[state]]

    def to_launch(self, new: int) -> Iterator[TrialRecord]:
        """Yield the waiting trials in the order of their launch, until `new` of them were never launched before."""
        waiting = self._numbers[State.WAITING]
        for number in queued(waiting, self.preferred) if self.preferred else waiting:
            if new <= 0:
                return
            trial = self._all[number]
            new -= not trial.attempts
            yield trial

    # ---- reading ------------------------------------------------------------------------------------------------

    def add(self, trials: Iterable[TrialRecord]) -> None:
        """Add trials as they are: trials that have ended, or that have an empty record."""
        for trial in trials:
            if not trial.state.ended:
                self.followers[trial.facts.number] = Follower(TrialReader(trial), self._rules)
            self._update(trial)

    def follow(self, readers: Iterable[TrialReader]) -> None:
        """Add the trials of these readers and read their records."""
        for reader in readers:
            number = reader.trial.facts.number
            self.followers[number] = Follower(reader, self._rules)
            self._update(reader.trial)
            self.poll(number)

    def refresh(self) -> None:
        """Read what was appended to the records of the running trials."""
        changed, now = self._watcher.changed(), self._clock()
        if changed is None or now - self._last_full_read >= READ_ALL_EVERY_S:
            changed, self._last_full_read = set(self._numbers[State.RUNNING]), now
        for number in sorted(changed | self._watcher.unwatched):
            if number in self.followers:
                self.poll(number)

    def poll(self, number: int) -> None:
        """Read what was appended to the record of a trial, whatever its state; do nothing if it is unreadable."""
        if number not in self._all:
            return
        follower = self.followers.get(number) or self._reopen(number)
        if follower is None:
            return
        follower.poll()
        if follower.unreadable:
            self._drop(number, follower.unreadable)
            return
        trial = follower.trial
        if trial.state is State.RUNNING and self._watched.get(number) != trial.newest.number:
            self._watched[number] = trial.newest.number
            self._watcher.watch(number, trial.attempt_dir)
            follower.poll()  # what was appended before the watch began is not reported
        self._update(follower.trial)

    def changing(self) -> list[TrialRecord]:
        """Return the trials that the next call of `changes` will return, as they are now."""
        return [self._all[number] for number in self._changed]

    def changes(self) -> list[TrialRecord]:
        """Return the trials that changed since the last call; stop following those that had ended by then."""
        for number in self._ended:
            if number in self._all and self._all[number].state.ended:
                self.followers.pop(number, None)
        changed, self._changed = [self._all[number] for number in self._changed], {}
        self._ended = [trial.facts.number for trial in changed if trial.state.ended]
        return changed

    def ended_readers(self) -> list[TrialReader]:
        """Return the readers of the trials that had ended at the last call of `changes` and are still followed."""
        return [self.followers[number].reader for number in self._ended if number in self.followers]

    def newly_unreadable(self) -> list[tuple[TrialRecord, str]]:
        """Return the trials with a record that became unreadable since the last call, each with the reason."""
        found, self._newly_unreadable = self._newly_unreadable, []
        return found

    def _update(self, trial: TrialRecord) -> None:
        number = trial.facts.number
        before = self._all.get(number)
        if trial is before:
            return
        if before is None or before.state is not trial.state:
            if before is not None:
                self._numbers[before.state].remove(number)
            bisect.insort(self._numbers[trial.state], number)
        if trial.state is not State.RUNNING:
            self._unwatch(number)
        self._all[number] = trial
        self._changed[number] = None

    def _drop(self, number: int, why: str) -> None:
        trial = self._all.pop(number)
        self._numbers[trial.state].remove(number)
        self._changed.pop(number, None)
        self.followers.pop(number, None)
        self._unwatch(number)
        self.unreadable[number] = trial
        self._newly_unreadable.append((trial, why))

    def _reopen(self, number: int) -> Follower | None:
        """Follow a trial that has ended again, from the start of its record; return None if it is unreadable."""
        try:
            self.followers[number] = Follower.of(self._all[number].directory, self._rules)
        except RecordError as error:
            self._drop(number, str(error))
        return self.followers.get(number)

    def _unwatch(self, number: int) -> None:
        if self._watched.pop(number, None) is not None:
            self._watcher.unwatch(number)
