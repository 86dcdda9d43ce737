"""Read the directories of trials: whole, or as they grow."""

from __future__ import annotations

import array
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.record.events import Event, Exit, Launched, Resumed, Started
from sweeper.record.facts import Facts
from sweeper.record.storage.codec import decode
from sweeper.record.storage.journal import JournalReader
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import HistoryEntry, TrialRecord


def is_alive(attempt: AttemptDir) -> bool:
    """Whether a process of the attempt holds its lease."""
    return is_held(attempt.lease)


def step_of(event: Event) -> int | None:
    """Return the optimizer step that an event belongs to, None where it belongs to none."""
    return None if isinstance(event, Resumed) else getattr(event, "step", None)


def history(attempts: Sequence[AttemptDir]) -> list[Event]:
    """Return the valid events of all attempts of a trial, in order; see `supersede`."""
    kept: list[HistoryEntry] = []
    for attempt in attempts:
        kept = supersede(kept, _read_entries(JournalReader(attempt.events), attempt.number))
    return [entry.event for entry in kept]


def supersede(earlier: Sequence[HistoryEntry], entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Return what stays valid of `earlier` attempts once a later one has appended `entries`, and those entries.

    The later attempt supersedes the steps after the one where it resumed, or all steps. It supersedes nothing
    if its script never opened the trial, or if it neither resumed nor reported a step: the next attempt may resume from
    a checkpoint of an earlier one.
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

    Bytes are read once. Only where an attempt resumes or reports its first step, the history is read anew, and
    `restarted` is true.
    """

    trial: TrialRecord
    restarted: bool = False
    _took_over: set[int] = field(default_factory=set)
    _control: JournalReader = field(init=False)
    _journals: dict[int, JournalReader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._control = JournalReader(self.trial.directory.control)

    @classmethod
    def open(cls, directory: TrialDir) -> TrialReader:
        """Return a reader at the start of a trial's record.

        Raises:
            RecordError: the trial's facts cannot be read.
        """
        return cls(TrialRecord(directory=directory, facts=Facts.read(directory)))

    def poll(self) -> list[HistoryEntry]:
        """Read what was appended; return the new entries of the history, or all of it where `restarted` is true.

        Raises:
            RecordError: the directory is gone, or one of its files cannot be read.
        """
        trial = self.trial
        if not trial.directory.path.is_dir():
            raise RecordError(f"{trial.directory.path}: expected the directory of a trial, but it is gone")
        control = self._control.read()
        running = {attempt.number for attempt in trial.attempts if attempt.exit is None}
        running |= {event.attempt for event in control if isinstance(event, Launched)}
        # Exits are read before events: an attempt that has an exit appends no more events.
        if events := [*control, *self._read_exits(running)]:
            trial = trial.after(events)
        entries = self._read_history([attempt.number for attempt in trial.attempts])
        if entries or self.restarted:
            trial = trial.with_history(entries, anew=self.restarted)
        damaged = self._control.damaged + sum(journal.damaged for journal in self._journals.values())
        if damaged != trial.damaged:
            trial = replace(trial, damaged=damaged)
        self.trial = trial
        return entries

    def extent(self) -> dict[Path, int]:
        """Return how many bytes of each growing file of the record were read."""
        return {journal.path: journal.offset for journal in (self._control, *self._journals.values())}

    def _read_history(self, launched: Sequence[int]) -> list[HistoryEntry]:
        newest = max(self._journals, default=0)
        read = {attempt: self._read(attempt) for attempt in launched if attempt >= newest}
        entries = [entry for attempt in read for entry in read[attempt]]
        taking_over = {attempt for attempt in read if any(_takes_over(entry.event) for entry in read[attempt])}
        resumed = any(isinstance(entry.event, Resumed) for entry in entries)
        self.restarted = resumed or not taking_over <= self._took_over
        self._took_over |= taking_over
        if not self.restarted:
            return entries
        if newest:  # otherwise everything was just read from its beginning
            self._journals.clear()
            read = {attempt: self._read(attempt) for attempt in launched}
        entries = []
        for attempt in launched:
            entries = supersede(entries, read[attempt])
        return entries

    def _read(self, attempt: int) -> list[HistoryEntry]:
        if attempt not in self._journals:
            self._journals[attempt] = JournalReader(self.trial.directory.attempt(attempt).events)
        return _read_entries(self._journals[attempt], attempt)

    def _read_exits(self, running: Iterable[int]) -> list[Exit]:
        ends = {number: read_exit(self.trial.directory.attempt(number)) for number in running}
        return [end if end.attempt == number else replace(end, attempt=number) for number, end in ends.items() if end]


def open_trials(run: SweepDir, known: Collection[int] = ()) -> tuple[list[TrialReader], dict[int, str]]:
    """Return a reader for each trial that is not `known`, and by number why others cannot be read."""
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
    """Check that the files in a trial's place can be read at all, without reading them."""
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


def read_trial(directory: TrialDir) -> TrialRecord:
    """Return a trial as its record has it now.

    Raises:
        RecordError: the trial's facts cannot be read.
    """
    reader = TrialReader.open(directory)
    reader.poll()
    return reader.trial


def read_trials(run: SweepDir) -> tuple[list[tuple[TrialRecord, list[HistoryEntry]]], dict[int, str]]:
    """Return each trial of a run with its history, and by number why others cannot be read."""
    readers, unreadable = open_trials(run)
    trials = []
    for reader in readers:
        try:
            entries = reader.poll()
        except RecordError as error:
            unreadable[reader.trial.number] = str(error)
        else:
            trials.append((reader.trial, entries))
    return trials, unreadable


def read_exit(attempt: AttemptDir) -> Exit | None:
    """Return how an attempt ended, None where no exit was written."""
    try:
        event = decode(attempt.exit.read_bytes())
    except (OSError, ValueError):
        return None
    return event if isinstance(event, Exit) else None


def read_row(attempt: AttemptDir, row: int, width: int) -> array.array[float] | None:
    """Return row `row` of an attempt's side file, `width` float32 values; None where it is torn or missing."""
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


def _read_entries(journal: JournalReader, attempt: int) -> list[HistoryEntry]:
    before = journal.count
    return [HistoryEntry(attempt, position, event) for position, event in enumerate(journal.read(), before + 1)]
