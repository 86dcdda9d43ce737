"""The histories of the trials that a viewer looks at: read once, and then as they grow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from sweeper.record.events import Event, Metrics, Observation, Watching
from sweeper.record.reader import TrialReader
from sweeper.record.storage.layout import AttemptDir, TrialDir
from sweeper.record.trial import HistoryEntry

MOST_KEPT = 64
"""Trials with histories that stay in memory; those that were looked at least recently are read again."""

REACH, UPDATE_RATIO, LEARNING_RATE, GRADIENT_NORM = (
    "gradient/reach",
    "update_ratio/median",
    "learning_rate",
    "gradient/norm",
)
"""What the watch measures at each observation, under the tags of TensorBoard."""


@dataclass(slots=True)
class Points:
    """All values of one metric of a trial, in order, and the attempt that reported each."""

    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)

    def add(self, event: Metrics | Observation, value: float, attempt: int) -> None:
        """Add a value."""
        self.steps.append(event.step)
        self.times.append(event.time)
        self.values.append(value)
        self.attempts.append(attempt)


@dataclass(frozen=True, slots=True)
class Observed:
    """An observation, what it watches, and the attempt that has its row in a side file."""

    observation: Observation
    watching: Watching
    attempt: AttemptDir


@dataclass(slots=True)
class History:
    """The metrics and observations of one trial: `reported` by its script, and `measured` by the watch."""

    reader: TrialReader
    reported: dict[str, Points] = field(default_factory=dict)
    measured: dict[str, Points] = field(default_factory=dict)
    observed: list[Observed] = field(default_factory=list)
    _watching: Watching | None = None

    @classmethod
    def open(cls, directory: TrialDir) -> History:
        """Return the history of a trial, unread.

        Raises:
            RecordError: the trial's facts cannot be read.
        """
        return cls(TrialReader.open(directory))

    def poll(self) -> None:
        """Read what was appended.

        Raises:
            RecordError: the trial is gone, or cannot be read.
        """
        entries = self.reader.poll()
        if self.reader.restarted:
            self.reported, self.measured, self.observed, self._watching = {}, {}, [], None
        self._take(entries)

    @property
    def metrics(self) -> dict[str, Points]:
        """All metrics by name; where the script reports one that the watch measures too, that of the script."""
        return {**self.measured, **self.reported}

    def _take(self, entries: Iterable[HistoryEntry]) -> None:
        for entry in entries:
            event: Event = entry.event
            if isinstance(event, Metrics):
                for name, value in event.values.items():
                    self.reported.setdefault(name, Points()).add(event, value, entry.attempt)
            elif isinstance(event, Watching):
                self._watching = event
            elif isinstance(event, Observation):
                self._observe(event, entry.attempt)

    def _observe(self, event: Observation, attempt: int) -> None:
        measured = {
            REACH: event.reach,
            UPDATE_RATIO: event.update_ratio,
            GRADIENT_NORM: event.gradient_norm,
            LEARNING_RATE: event.learning_rate,
        }
        for name, value in measured.items():
            self.measured.setdefault(name, Points()).add(event, value, attempt)
        if self._watching is not None:
            directory = self.reader.trial.directory.attempt(attempt)
            self.observed.append(Observed(event, self._watching, directory))


@dataclass(slots=True)
class Histories:
    """The histories that were looked at recently, by the number of the trial."""

    _kept: OrderedDict[int, History] = field(default_factory=OrderedDict)

    def of(self, directory: TrialDir) -> History:
        """Return the history of a trial as recorded now.

        Raises:
            RecordError: the trial is gone, or cannot be read.
        """
        number = directory.number
        history = self._kept.pop(number, None) or History.open(directory)
        history.poll()
        self._kept[number] = history
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return history
