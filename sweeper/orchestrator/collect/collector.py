"""Collect the metrics of running trials from what they wrote and printed, at a bounded pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from sweeper.config import MetricSource
from sweeper.orchestrator.collect.attempt_sources import AttemptSources
from sweeper.orchestrator.collect.groups import discoveries, groups_of
from sweeper.orchestrator.pace import Pace
from sweeper.orchestrator.trials import Trials
from sweeper.record.events import Event
from sweeper.record.trial import State, TrialRecord
from sweeper.rules.needs import CHANCE_S

EVERY_S = 0.5
"""Seconds between two readings of the running trials."""
MOST_DISCOVERED = 3
"""Trials in which names are looked for that might be the metric of the sweep."""
ROUND_S = 0.25
"""Seconds after which a reading of many trials is interrupted; the next one goes on with the next trial."""

Record = Callable[[TrialRecord, Sequence[Event]], None]
"""Appends events to the record of a trial, and reads them back."""


class Collector:
    """Reads the sources of the trials.

    A running trial is read regularly, and every attempt once more to the end of its files after it has ended, before
    its end has any effect.

    Args:
        metrics: the sources by metric.
        trials: the trials of the sweep.
        record: appends to the record of a trial.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        metrics: Mapping[str, MetricSource],
        trials: Trials,
        record: Record,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = groups_of(metrics)
        self._metrics = frozenset(metrics)
        self._trials = trials
        self._record = record
        self._clock = clock
        self._pace = Pace(every_s=EVERY_S, clock=clock)
        self._sources: dict[int, tuple[int, AttemptSources]] = {}
        self._closed: dict[int, int] = {}
        self._discovered: set[int] = set()
        self._next = 0

    def has_all(self, trial: TrialRecord) -> bool:
        """Return whether a trial that has ended has every metric, so that its files need not be read."""
        return not self._metrics or self._metrics <= trial.progress.metrics.keys()

    def collect(self) -> None:
        """Read the attempts that have ended, and the running ones if that is due."""
        for trial in self._trials.changing():
            if trial.number not in self._trials.followers:
                continue  # it had ended before this call, with all of its metrics
            if trial.newest.end is not None and self._closed.get(trial.number) != trial.newest.number:
                self._read(trial, final=True)
                self._closed[trial.number] = trial.newest.number
                self._sources.pop(trial.number, None)
                self._discover(trial.number)
        if self._pace.is_due():
            with self._pace.measure():
                self._read_running()

    def _read_running(self) -> None:
        begin, running = self._clock(), self._trials.in_state(State.RUNNING)
        later = [trial for trial in running if trial.number >= self._next]
        for trial in later + [trial for trial in running if trial.number < self._next]:
            if self._clock() - begin > ROUND_S:
                self._next = trial.number
                return
            self._read(trial, final=False)
            if trial.seconds(time.time()) >= CHANCE_S:
                self._discover(trial.number)

    def _read(self, trial: TrialRecord, *, final: bool) -> None:
        number, attempt = trial.number, trial.newest.number
        follower = self._trials.followers[number]
        if not self._groups:
            return
        if self._sources.get(number, (0,))[0] != attempt:
            self._sources[number] = attempt, AttemptSources(trial.attempt_dir, self._groups)
        sources = self._sources[number][1]
        after, step = follower.reader.events_read(attempt), follower.optimizer_step
        events = sources.collect(after=after, step=step, reported=follower.reported, final=final)
        if events:
            self._record(trial, events)

    def _discover(self, number: int) -> None:
        """Record which names there are in the files of a trial that lacks a metric that ranks it, for advice."""
        if number in self._discovered or len(self._discovered) >= MOST_DISCOVERED or number not in self._trials:
            return
        trial = self._trials[number]
        if trial.newest.number and not trial.progress.metrics.keys() >= set(trial.facts.ranking):
            self._discovered.add(number)
            events = AttemptSources(trial.attempt_dir, discoveries(self._groups)).collect(after=0, step=None)
            if events:
                self._record(trial, events)
