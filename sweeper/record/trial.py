"""Reading a trial directory: its facts, its history, its state; whole, or as it grows."""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from sweeper.errors import RecordError
from sweeper.record.events import Event, Exit, Resumed, Started, decode, step_of
from sweeper.record.fold import (
    Control,
    Progress,
    Retry,
    Series,
    State,
    cause_of_end,
    control_of,
    crowded_out,
    fold,
    retry_of,
    state_of,
)
from sweeper.record.storage.journal import JournalReader
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir, read_json
from sweeper.record.storage.lease import is_held
from sweeper.record.values.redaction import redacted_values


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
    retry: Retry = field(default_factory=Retry)

    @classmethod
    def read(cls, trial: TrialDir) -> Facts:
        """The facts of a trial.

        Raises:
            RecordError: `trial.json` is missing, or is none, or that of another trial.
        """
        value = read_json(trial.facts)
        known: dict[str, Any] = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        try:
            facts = cls(**{**known, "retry": Retry.read(known.get("retry", {}))})
        except TypeError as error:
            raise RecordError(f"{trial.facts}: expected the facts of a trial, got: {error}") from error
        for name, kind in _FACT_TYPES.items():
            if not _fits(getattr(facts, name), kind):
                raise RecordError(f"{trial.facts}: {name}: expected {kind.__name__}, got {getattr(facts, name)!r}")
        if facts.number != trial.number:
            raise RecordError(f"{trial.facts}: number: expected {trial.number}, as its directory, got {facts.number}")
        return facts

    @property
    def label(self) -> str:
        """Number and varied parameters, as a name for people and for TensorBoard: ``0003_lr=3e-4_warmup=0.1``."""
        varied = {**self.shown, "seed": self.seed} if self.seeds > 1 else self.shown
        told = redacted_values(varied).items()
        parts = [f"{self.number:04d}", *(f"{name}={spelled(value)}" for name, value in told)]
        name = "".join(c if c.isalnum() or c in "._=+-," else "-" for c in "_".join(parts))
        return name.encode()[:LONGEST_LABEL].decode(errors="ignore")


LONGEST_LABEL = 200
"""Bytes; file systems take 255 for a path component."""

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
    "seeds": int,
    "checkpoint_every_s": float,
    "resources": dict,
}


def _fits(value: object, kind: type) -> bool:
    """Whether a value of JSON is of a kind; numbers are those that 64 bits hold."""
    if kind is int:
        return type(value) is int and -(2**63) <= value < 2**63
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]  # the type was looked at
    return isinstance(value, kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial at one moment. `damaged` counts the lines of its record that are no events: torn, or edited.

    What follows from the rest, and is asked for of all trials at once, is found once: the state, the last step that
    stands (-1 before the first), and when the trial was last heard of, in seconds since the epoch.
    """

    directory: TrialDir
    facts: Facts
    control: Control = field(default_factory=Control)
    progress: Progress = field(default_factory=Progress)
    exits: Mapping[int, Exit] = field(default_factory=dict)
    damaged: int = 0
    state: State = field(init=False)
    step: int = field(init=False)
    latest: float = field(init=False)

    def __post_init__(self) -> None:
        state = state_of(self.control, self.progress, self.exits, self.facts.retry)
        for name, found in (("state", state), ("step", self.progress.step), ("latest", self.progress.latest)):
            object.__setattr__(self, name, found)

    @property
    def number(self) -> int:
        """That of its directory, which its facts have to say too."""
        return self.directory.number

    @property
    def retry(self) -> int:
        """Which retry comes next, from 1; 0 where the newest attempt's end was none to be retried."""
        return retry_of(self.control, self.progress, self.exits, self.facts.retry)

    @property
    def pause_s(self) -> float:
        """Seconds that the next attempt waits after the end of the newest: before the n-th retry 2**(n-1) backoffs."""
        return self.facts.retry.backoff_s * 2.0 ** (self.retry - 1) if self.retry else 0.0

    @property
    def wants_alone(self) -> bool:
        """Whether it is to have its devices to itself: once, beside others, there was no memory left for it."""
        return any(crowded_out(self.control, self.progress, self.exits, attempt) for attempt in self.control.launched)

    def cause(self, attempt: int) -> str:
        """Why an attempt ended, in one word (`record.causes`); empty while it runs, and after exit code 0."""
        return cause_of_end(self.control, self.progress, self.exits, attempt)

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
        return sum(self.seconds_of(attempt, now) for attempt in self.control.launched)

    def seconds_of(self, attempt: int, now: float) -> float:
        """Wall time of an attempt that was launched, in seconds; until `now` where it has not ended."""
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


class Entry(NamedTuple):
    """An event of a trial's history; it stands at `position`, from 1, of those that `attempt` wrote."""

    attempt: int
    position: int
    event: Event


def history(attempts: Sequence[AttemptDir]) -> list[Event]:
    """The valid events of a trial, of all its attempts in order; see `supersede`."""
    kept: list[Entry] = []
    for attempt in attempts:
        kept = supersede(kept, _appended(JournalReader(attempt.events), attempt.number))
    return [entry.event for entry in kept]


def supersede(earlier: Sequence[Entry], entries: Sequence[Entry]) -> list[Entry]:
    """What stands of `earlier` attempts once a later one appended `entries`, and those entries.

    The later attempt takes over from the step where it resumed, or from the start. One whose script never opened the
    trial takes over nothing, nor does one that neither resumed nor saw a step: the next may go on from a checkpoint of
    an earlier one.
    """
    events = [entry.event for entry in entries]
    opened = any(isinstance(event, Started) for event in events)
    if not (opened and any(_takes_over(event) for event in events)):
        return [*earlier, *entries]
    resumed = max((event.step for event in events if isinstance(event, Resumed)), default=-1)
    return [entry for entry in earlier if (step := step_of(entry.event)) is None or step <= resumed] + list(entries)


def _takes_over(event: Event) -> bool:
    return isinstance(event, Resumed) or step_of(event) is not None


@dataclass(slots=True)
class TrialReader:
    """Follows a trial as it grows.

    Bytes are read once; only where an attempt resumes or sees its first step is the history read anew, and `restarted`
    says so.
    """

    trial: Trial
    restarted: bool = False
    _took_over: set[int] = field(default_factory=set)
    _control: JournalReader = field(init=False)
    _journals: dict[int, JournalReader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._control = JournalReader(self.trial.directory.control)

    @classmethod
    def open(cls, directory: TrialDir) -> TrialReader:
        """A reader at the start of a trial's record.

        Raises:
            RecordError: the trial's facts cannot be read.
        """
        return cls(Trial(directory=directory, facts=Facts.read(directory)))

    def poll(self) -> list[Entry]:
        """Take in what was appended; returns what is new in the history, all of it where `restarted` is set.

        Raises:
            RecordError: the directory is gone, or a file of it cannot be read.
        """
        if not self.trial.directory.path.is_dir():
            raise RecordError(f"{self.trial.directory.path}: expected the directory of a trial, but it is gone")
        control = control_of(self._control.read(), self.trial.control)
        # Exits are read before events: where there is an exit, this poll reads the last event there will be.
        exits = self._exits_of(control)
        launched = sorted(control.launched)
        newest = max(self._journals, default=0)
        read = {attempt: self._read(attempt) for attempt in launched if attempt >= newest}
        entries = [entry for attempt in read for entry in read[attempt]]
        taking_over = {attempt for attempt in read if any(_takes_over(entry.event) for entry in read[attempt])}
        resumed = any(isinstance(entry.event, Resumed) for entry in entries)
        self.restarted = resumed or not taking_over <= self._took_over
        self._took_over |= taking_over
        if self.restarted:
            if newest:  # else all was just read from its beginning
                self._journals.clear()
                read = {attempt: self._read(attempt) for attempt in launched}
            entries = []
            for attempt in launched:
                entries = supersede(entries, read[attempt])
        damaged = self._control.damaged + sum(journal.damaged for journal in self._journals.values())
        known = (self.trial.control, self.trial.exits, self.trial.damaged)
        if entries or self.restarted or (control, exits, damaged) != known:  # else the trial stays the same object
            progress = fold((entry.event for entry in entries), None if self.restarted else self.trial.progress)
            self.trial = replace(self.trial, control=control, progress=progress, exits=exits, damaged=damaged)
        return entries

    def extent(self) -> dict[Path, int]:
        """Up to how many bytes each growing file of the record was read."""
        return {journal.path: journal.offset for journal in (self._control, *self._journals.values())}

    def _read(self, attempt: int) -> list[Entry]:
        if attempt not in self._journals:
            self._journals[attempt] = JournalReader(self.trial.directory.attempt(attempt).events)
        return _appended(self._journals[attempt], attempt)

    def _exits_of(self, control: Control) -> dict[int, Exit]:
        exits = dict(self.trial.exits)
        for attempt in control.launched:
            if attempt not in exits and (ended := read_exit(self.trial.directory.attempt(attempt))) is not None:
                exits[attempt] = ended
        return exits


def open_trials(run: SweepDir, known: Collection[int] = ()) -> tuple[list[TrialReader], dict[int, str]]:
    """A reader of each trial of a run but those that are known; why the others cannot be read; both by number."""
    readers, unreadable = [], {}
    for entry in run.entries(known):
        if entry.is_unmade:
            continue
        try:
            _check_files(entry)
            readers.append(TrialReader.open(entry))
        except RecordError as error:
            unreadable[entry.number] = str(error)
    return readers, unreadable


def _check_files(entry: TrialDir) -> None:
    """Look whether what stands in a trial's place can be read at all, without reading it."""
    for folder in (entry.path, entry.path / "attempts"):
        if folder.exists() and not folder.is_dir():
            raise RecordError(f"{folder}: expected a directory, got something else")
    for journal in (entry.control, *(attempt.events for attempt in entry.attempts())):
        try:
            journal.open("rb").close()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RecordError(f"{journal}: expected a readable file, got: {error.strerror}") from error


def read_trials(run: SweepDir) -> tuple[list[tuple[Trial, list[Entry]]], dict[int, str]]:
    """Each trial of a run as its record has it now, with its history; and why the others cannot be read, by number."""
    readers, unreadable = open_trials(run)
    trials = []
    for reader in readers:
        try:
            entries = reader.poll()
        except RecordError as error:
            unreadable[reader.trial.facts.number] = str(error)
        else:
            trials.append((reader.trial, entries))
    return trials, unreadable


def _appended(journal: JournalReader, attempt: int) -> list[Entry]:
    before = journal.count
    return [Entry(attempt, position, event) for position, event in enumerate(journal.read(), before + 1)]


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
