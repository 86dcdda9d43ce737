"""The trials of a sweep as last read, and which of them are in which state; kept up as they change.

1. Who has ended is not read again, unless this orchestrator appends to its record. Its history is forgotten.
2. Who runs is read when the kernel says that there is something new, and every `LOOK_EVERY_S` seconds in any case; of
   whom the kernel says nothing, at every look.
3. Who waits is written to by nobody else.
So a look costs what is new, however many trials there are.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from sweeper.errors import RecordError
from sweeper.orchestrator.follower import Follower
from sweeper.orchestrator.io.inotify import Notices
from sweeper.record.fold import State
from sweeper.record.launch_order import queued
from sweeper.record.trial import Trial, TrialReader
from sweeper.rules.decision import Rule

LOOK_EVERY_S = 5.0


class Trials:
    """Those of a sweep: `followers` of who has not ended, or did just now; `gone` are those whose record was lost.

    `preferred` are started before all others.
    """

    def __init__(self, rules: Sequence[Rule], notices: Notices, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.followers: dict[int, Follower] = {}
        self.gone: dict[int, Trial] = {}
        self.preferred: tuple[int, ...] = ()
        self._rules = rules
        self._notices = notices
        self._clock = clock
        self._looked = clock()
        self._all: dict[int, Trial] = {}
        self._in: Mapping[State, list[int]] = {state: [] for state in State}
        self._changed: dict[int, None] = {}
        self._watched: dict[int, int] = {}
        self._ended: list[int] = []
        self._lost: list[tuple[Trial, str]] = []

    # ---- who there is -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, number: int) -> bool:
        return number in self._all

    def __getitem__(self, number: int) -> Trial:
        return self._all[number]

    @property
    def all(self) -> list[Trial]:
        """All of them, by number."""
        return list(self._all.values())

    def count(self, *states: State) -> int:
        """How many are in one of the states."""
        return sum(len(self._in[state]) for state in states)

    def of(self, state: State) -> list[Trial]:
        """Those in a state, by number."""
        return [self._all[number] for number in self._in[state]]

    def to_launch(self, fresh: int) -> Iterator[Trial]:
        """The next to be launched, in their order, until so many are among them that were never launched."""
        waiting = self._in[State.WAITING]
        for number in queued(waiting, self.preferred) if self.preferred else waiting:
            if fresh <= 0:
                return
            trial = self._all[number]
            fresh -= not trial.control.launched
            yield trial

    # ---- reading ------------------------------------------------------------------------------------------------

    def add(self, trials: Iterable[Trial]) -> None:
        """Have these too, as they are: they have ended, or nothing was written to their records yet."""
        for trial in trials:
            if not trial.state.ended:
                self.followers[trial.facts.number] = Follower(TrialReader(trial), self._rules)
            self._take(trial)

    def read(self, readers: Iterable[TrialReader]) -> None:
        """Have these too, as their records have them now."""
        for reader in readers:
            number = reader.trial.facts.number
            self.followers[number] = Follower(reader, self._rules)
            self._take(reader.trial)
            self.poll(number)

    def look(self) -> None:
        """Read what was appended to the trials that run."""
        news, now = self._notices.take(), self._clock()
        if news is None or now - self._looked >= LOOK_EVERY_S:
            news, self._looked = set(self._in[State.RUNNING]), now
        for number in sorted(news | self._notices.unwatched):
            if number in self.followers:
                self.poll(number)

    def poll(self, number: int) -> None:
        """Read what was appended to a trial, whatever its state; one that is gone stays so."""
        if number not in self._all:
            return
        follower = self.followers.get(number) or self._reopened(number)
        if follower is None:
            return
        follower.poll()
        if follower.gone:
            self._lose(number, follower.gone)
            return
        trial = follower.trial
        if trial.state is State.RUNNING and self._watched.get(number) != trial.control.attempt:
            self._watched[number] = trial.control.attempt
            self._notices.watch(number, trial.attempt)
            follower.poll()  # what came before the watch, of which nobody tells
        self._take(follower.trial)

    def changes(self) -> list[Trial]:
        """Those that changed since the last call. Those that had ended by then are followed no more."""
        for number in self._ended:
            if number in self._all and self._all[number].state.ended:
                self.followers.pop(number, None)
        changed, self._changed = [self._all[number] for number in self._changed], {}
        self._ended = [trial.facts.number for trial in changed if trial.state.ended]
        return changed

    def ended_readers(self) -> list[TrialReader]:
        """The readers of those that had ended by the last call of `changes`, and were read since they ran."""
        return [self.followers[number].reader for number in self._ended if number in self.followers]

    def losses(self) -> list[tuple[Trial, str]]:
        """Those whose record was found unreadable since the last call, and why; nothing more is known of them."""
        lost, self._lost = self._lost, []
        return lost

    def _take(self, trial: Trial) -> None:
        number = trial.facts.number
        before = self._all.get(number)
        if trial is before:
            return
        if before is None or before.state is not trial.state:
            if before is not None:
                self._in[before.state].remove(number)
            bisect.insort(self._in[trial.state], number)
        if trial.state is not State.RUNNING:
            self._unwatch(number)
        self._all[number] = trial
        self._changed[number] = None

    def _lose(self, number: int, why: str) -> None:
        trial = self._all.pop(number)
        self._in[trial.state].remove(number)
        self._changed.pop(number, None)
        self.followers.pop(number, None)
        self._unwatch(number)
        self.gone[number] = trial
        self._lost.append((trial, why))

    def _reopened(self, number: int) -> Follower | None:
        """A follower of a trial that has ended, from the start of its record."""
        try:
            self.followers[number] = Follower.of(self._all[number].directory, self._rules)
        except RecordError as error:
            self._lose(number, str(error))
        return self.followers.get(number)

    def _unwatch(self, number: int) -> None:
        if self._watched.pop(number, None) is not None:
            self._notices.forget(number)
