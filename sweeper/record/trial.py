"""Reading a trial directory: its facts, its history, its state; whole, or as it grows."""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.events import Event, Exit, Resumed, Started, decode, step_of
from sweeper.record.fold import Control, Progress, Series, State, control_of, fold, state_of
from sweeper.record.journal import JournalReader, read_journal
from sweeper.record.layout import AttemptDir, TrialDir, read_json
from sweeper.record.lease import is_held


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is fixed about a trial before it first runs; `trial.json`."""

    number: int
    configuration: int
    seed: int
    seeds: int = 1
    params: Mapping[str, object]
    shown: Mapping[str, object]
    command: Sequence[str]
    metric: str
    maximize: bool
    at: str = "best"
    checkpoint_every_s: float = 600.0
    resources: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def read(cls, trial: TrialDir) -> Facts:
        """The facts of a trial.

        Raises:
            RecordError: `trial.json` is missing, or is none.
        """
        value = read_json(trial.facts)
        known: dict[str, Any] = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        try:
            facts = cls(**known)
        except TypeError as error:
            raise RecordError(f"{trial.facts}: expected the facts of a trial, got: {error}") from error
        for name, kind in _FACT_TYPES.items():
            if not isinstance(getattr(facts, name), kind):
                raise RecordError(f"{trial.facts}: {name}: expected {kind.__name__}, got {getattr(facts, name)!r}")
        return facts

    @property
    def label(self) -> str:
        """Number and varied parameters, as a name for people and for TensorBoard: ``0003_lr=3e-4_warmup=0.1``."""
        varied = {**self.shown, "seed": self.seed} if self.seeds > 1 else self.shown
        parts = [f"{self.number:04d}", *(f"{name}={spelled(value)}" for name, value in varied.items())]
        return "".join(c if c.isalnum() or c in "._=+-," else "-" for c in "_".join(parts))[:200]


_FACT_TYPES: Mapping[str, type] = {
    "number": int,
    "configuration": int,
    "seed": int,
    "params": dict,
    "shown": dict,
    "command": list,
    "metric": str,
    "maximize": bool,
    "at": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial at one moment."""

    directory: TrialDir
    facts: Facts
    control: Control = field(default_factory=Control)
    progress: Progress = field(default_factory=Progress)
    exits: Mapping[int, Exit] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The state by the fold."""
        return state_of(self.control, self.progress, self.exits)

    @property
    def attempt(self) -> AttemptDir:
        """The newest attempt."""
        return self.directory.attempt(self.control.attempt)

    @property
    def series(self) -> Series | None:
        """The metric of the sweep, None before its first value."""
        return self.progress.metrics.get(self.facts.metric)

    @property
    def value(self) -> float | None:
        """The trial's value: its best evaluation, or its last (`metric.at`); None before the first."""
        if self.series is None:
            return None
        best = self.series.high if self.facts.maximize else self.series.low
        value = self.series.last if self.facts.at == "last" else best
        return value if math.isfinite(value) else None

    def seconds(self, now: float) -> float:
        """Wall time of all attempts in seconds; the one that runs counts until `now`."""
        return sum(self._seconds_of(attempt, now) for attempt in self.control.launched)

    def _seconds_of(self, attempt: int, now: float) -> float:
        begin = self.control.launched[attempt].time
        if attempt in self.exits:
            end = self.exits[attempt].time
        elif attempt in self.control.lost:
            end = self.control.lost[attempt].time
        else:
            end = now
        return max(0.0, end - begin)


def is_alive(attempt: AttemptDir) -> bool:
    """Whether a process of the attempt holds its lease."""
    return is_held(attempt.lease)


def history(attempts: Sequence[AttemptDir]) -> list[Event]:
    """The valid events of a trial, of all its attempts in order; see `supersede`."""
    kept: list[Event] = []
    for attempt in attempts:
        kept = supersede(kept, read_journal(attempt.events))
    return kept


def supersede(earlier: Sequence[Event], events: Sequence[Event]) -> list[Event]:
    """What stands of `earlier` attempts once a later one appended `events`, and those events.

    The later attempt takes over from the step where it resumed, or from the start; one whose script never opened
    the trial takes over nothing.
    """
    if not any(isinstance(event, Started) for event in events):
        return [*earlier, *events]
    resumed = max((event.step for event in events if isinstance(event, Resumed)), default=-1)
    return [event for event in earlier if (step := step_of(event)) is None or step <= resumed] + list(events)


@dataclass(slots=True)
class TrialReader:
    """Follows a trial as it grows.

    Bytes are read once; only where an attempt starts or resumes is the history read anew, and `restarted` says so.
    """

    trial: Trial
    restarted: bool = False
    _control: JournalReader = field(init=False)
    _events: JournalReader | None = None
    _attempt: int = 0

    def __post_init__(self) -> None:
        self._control = JournalReader(self.trial.directory.control)

    @classmethod
    def open(cls, directory: TrialDir) -> TrialReader:
        """A reader at the start of a trial's record.

        Raises:
            RecordError: the trial's facts cannot be read.
        """
        return cls(Trial(directory=directory, facts=Facts.read(directory)))

    def poll(self) -> list[Event]:
        """Take in what was appended; returns the new events of the history, all of it where `restarted` is set."""
        control = control_of(self._control.read(), self.trial.control)
        # Exits are read before events: where there is an exit, this poll reads the last event there will be.
        exits = self._exits_of(control)
        events = self._new_events(sorted(control.launched))
        self.restarted = any(isinstance(event, Started | Resumed) for event in events)
        if self.restarted:
            events = self._history_anew(sorted(control.launched))
        progress = fold(events, None if self.restarted else self.trial.progress)
        self.trial = replace(self.trial, control=control, progress=progress, exits=exits)
        return events

    def _new_events(self, attempts: Sequence[int]) -> list[Event]:
        events = self._events.read() if self._events else []
        for attempt in attempts:
            if attempt > self._attempt:
                self._attempt = attempt
                self._events = JournalReader(self.trial.directory.attempt(attempt).events)
                events += self._events.read()
        return events

    def _history_anew(self, attempts: Sequence[int]) -> list[Event]:
        *earlier, newest = [self.trial.directory.attempt(attempt) for attempt in attempts]
        self._events = JournalReader(newest.events)
        return supersede(history(earlier), self._events.read())

    def _exits_of(self, control: Control) -> dict[int, Exit]:
        exits = dict(self.trial.exits)
        for attempt in control.launched:
            if attempt not in exits and (ended := read_exit(self.trial.directory.attempt(attempt))) is not None:
                exits[attempt] = ended
        return exits


def read_exit(attempt: AttemptDir) -> Exit | None:
    """How an attempt ended, None where that is not written."""
    try:
        event = decode(attempt.exit.read_bytes())
    except (OSError, ValueError):
        return None
    return event if isinstance(event, Exit) else None


def read_row(attempt: AttemptDir, row: int, width: int) -> array.array[float] | None:
    """Row `row` of an attempt's side file: `width` float32 values; None where it is torn or missing."""
    try:
        with attempt.layers.open("rb") as file:
            file.seek(row * width * 4)
            data = file.read(width * 4)
    except OSError:
        return None
    if len(data) < width * 4:
        return None
    values = array.array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


PLAINLY_WRITTEN = (1e-3, 1e6)
"""Magnitudes between these are written without an exponent."""


def spelled(value: object) -> str:
    """A parameter value as a person would write it: 3e-4, not 0.0003."""
    if isinstance(value, float) and value and not PLAINLY_WRITTEN[0] < abs(value) < PLAINLY_WRITTEN[1]:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_trial(directory: TrialDir) -> Trial:
    """A trial as its record has it now.

    Raises:
        RecordError: the trial's facts cannot be read.
    """
    reader = TrialReader.open(directory)
    reader.poll()
    return reader.trial
