"""Read the directories of trials: whole, or as they grow."""

from __future__ import annotations

import array
import errno
import math
import os
import stat
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.record.attempt_history import AttemptHistory, without_collected
from sweeper.record.causes import Cause
from sweeper.record.events import Collected, Event, Exit, Launched, Metrics, Resumed, Started
from sweeper.record.facts import Facts
from sweeper.record.storage import confined
from sweeper.record.storage.checksums import Damage, needs_sum
from sweeper.record.storage.codec import decode_file
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
    collected = _by_attempt(JournalReader(attempts[0].trial.control).read()) if attempts else {}
    for attempt in attempts:
        kept = supersede(kept, AttemptHistory(attempt).read(collected.get(attempt.number, ())))
    return [entry.event for entry in kept]


def supersede(earlier: Sequence[HistoryEntry], entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Return what stays valid of `earlier` attempts once a later one has appended `entries`, and those entries.

    The later attempt supersedes the steps after the one where it resumed, or all steps. It supersedes nothing
    if its script never opened the trial, or if it neither resumed nor reported a step: the next attempt may resume from
    a checkpoint of an earlier one. A script that knows nothing of sweeper cannot report where it resumed: each metric
    that was collected from it supersedes the earlier values of that metric from its first step on.
    """
    events = [entry.event for entry in entries if not entry.collected]
    opened = any(isinstance(event, Started) for event in events)
    kept = list(earlier)
    if opened and any(_takes_over(event) for event in events):
        resumed = max((event.step for event in events if isinstance(event, Resumed)), default=-1)
        kept = [entry for entry in kept if (step := step_of(entry.event)) is None or step <= resumed]
    firsts: dict[str, int] = {}
    for entry in entries:
        if entry.collected and isinstance(entry.event, Metrics):
            for name in entry.event.values:
                firsts[name] = min(entry.event.step, firsts.get(name, entry.event.step))
    return [*(without_collected(kept, firsts) if firsts else kept), *entries]


def _takes_over(event: Event) -> bool:
    return isinstance(event, Resumed) or step_of(event) is not None


@dataclass(slots=True)
class TrialReader:
    """Follows a trial as it grows.

    Bytes are read once. Only where an attempt resumes or reports its first step, or where its two files were read in
    another order than they were written, the history is read anew, and `restarted` is true.
    """

    trial: TrialRecord
    restarted: bool = False
    _took_over: set[int] = field(default_factory=set)
    _control: JournalReader = field(init=False)
    _histories: dict[int, AttemptHistory] = field(default_factory=dict)
    _unread_exits: dict[int, Damage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._control = JournalReader(self.trial.directory.control, strict=self._strict)

    @property
    def _strict(self) -> bool:
        return needs_sum({"format": self.trial.facts.format})

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
        entries = self._read_history([attempt.number for attempt in trial.attempts], _by_attempt(control))
        if entries or self.restarted:
            trial = trial.with_history(entries, anew=self.restarted)
        if (damage := tuple(self._damage(trial))) != trial.damage:
            trial = replace(trial, damage=damage)
        self.trial = trial
        return entries

    def _damage(self, trial: TrialRecord) -> Iterator[Damage]:
        """Yield the places where what was read is not as it was written."""
        yield from self._control.damage
        if self._control.incomplete is not None:
            yield self._control.incomplete
        for attempt in trial.attempts:
            if attempt.number in self._unread_exits:
                yield self._unread_exits[attempt.number]
            if (history := self._histories.get(attempt.number)) is None:
                continue
            yield from history.journal.damage
            if attempt.exit is not None:  # otherwise the line may still be written
                if history.journal.incomplete is not None:
                    yield history.journal.incomplete
                yield from missing_end(history.journal, attempt.exit.events_bytes)

    def extent(self) -> dict[Path, int]:
        """Return how many bytes of each growing file of the record were read."""
        journals = (self._control, *(one.journal for one in self._histories.values()))
        return {journal.path: journal.offset for journal in journals}

    def events_read(self, attempt: int) -> int:
        """Return how many events of an attempt's worker were read."""
        return self._histories[attempt].journal.count if attempt in self._histories else 0

    def _read_history(
        self, launched: Sequence[int], collected: Mapping[int, Sequence[Collected]]
    ) -> list[HistoryEntry]:
        newest = max(self._histories, default=0)
        read = {attempt: self._read(attempt, collected) for attempt in launched if attempt >= newest}
        entries = [entry for attempt in read for entry in read[attempt]]
        taking_over = {attempt for attempt in read if any(_takes_over(one) for one in _by_worker(read[attempt]))}
        resumed = any(isinstance(event, Resumed) for event in _by_worker(entries))
        superseding = any(self._histories[attempt].lower for attempt in read if attempt != launched[0])
        late = any(self._histories[attempt].late for attempt in read) or not collected.keys() <= read.keys()
        self.restarted = resumed or superseding or late or not taking_over <= self._took_over
        self._took_over |= taking_over
        if not self.restarted:
            return entries
        if newest:  # otherwise everything was just read from its beginning
            self._histories.clear()
            control = JournalReader(self.trial.directory.control, self._strict).read(until=self._control.offset)
            everything = _by_attempt(control)
            read = {attempt: self._read(attempt, everything) for attempt in launched}
        entries = []
        for attempt in launched:
            entries = supersede(entries, read[attempt])
        return entries

    def _read(self, attempt: int, collected: Mapping[int, Sequence[Collected]]) -> list[HistoryEntry]:
        if attempt not in self._histories:
            self._histories[attempt] = AttemptHistory(self.trial.directory.attempt(attempt), self._strict)
        return self._histories[attempt].read(collected.get(attempt, ()))

    def _read_exits(self, running: Iterable[int]) -> list[Exit]:
        ends = {number: self._read_exit(self.trial.directory.attempt(number)) for number in running}
        return [end if end.attempt == number else replace(end, attempt=number) for number, end in ends.items() if end]

    def _read_exit(self, attempt: AttemptDir) -> Exit | None:
        """Return how an attempt ended; an exit of unknown cause where the file is damaged: the attempt has ended."""
        if (end := read_exit(attempt)) is not None:
            return end
        try:
            time = attempt.exit.stat().st_mtime
        except OSError:
            return None
        if (end := read_exit(attempt)) is not None:  # it was written meanwhile
            return end
        what = "it does not match its checksum or is not an exit: how the attempt ended is unknown"
        self._unread_exits[attempt.number] = Damage(file=attempt.exit, line=0, what=what)
        return Exit(
            time=time, attempt=attempt.number, code=None, signal=None, cause=Cause.DAMAGED, peak_memory_mb=math.nan
        )


def missing_end(events: JournalReader, size: int) -> Iterator[Damage]:
    """Yield the damage of a journal that is shorter than when its attempt ended, with this size in bytes.

    If other damage of the journal is known, that may be the reason.
    """
    left = events.path.stat().st_size if events.path.exists() else 0
    if left < size and all(one.torn for one in events.damage):
        what = f"its end is missing: it has {left:,} bytes, and had {size:,} when its attempt ended"
        yield Damage(file=events.path, line=0, what=what)


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
        mode = _mode(folder)
        if mode is not None and not stat.S_ISDIR(mode):
            found = "a link, which is not followed inside a run" if stat.S_ISLNK(mode) else "something else"
            raise RecordError(f"{folder}: expected a directory, got {found}")
    for journal in (entry.control, *(attempt.events for attempt in entry.attempts())):
        mode = _mode(journal)
        if mode is None or (stat.S_ISREG(mode) and os.access(journal, os.R_OK)):
            continue
        try:
            confined.reading(journal).close()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RecordError(f"{journal}: expected a readable file, got: {error.strerror}") from error


def _mode(path: Path) -> int | None:
    """Return the mode of a file or a link; None where there is none, or where another error will be raised later."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return None


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
    """Return how an attempt ended, None where no exit was written, or it is damaged.

    Raises:
        RecordError: something else stands in its place.
    """
    try:
        event = decode_file(confined.read_bytes(attempt.exit))
    except ValueError:
        return None
    except OSError as error:
        if error.errno in confined.NO_FILE or error.errno == errno.EFBIG:
            raise RecordError(f"{attempt.exit}: expected a readable file, got: {error.strerror}") from error
        return None
    return event if isinstance(event, Exit) else None


def read_row(attempt: AttemptDir, row: int, width: int, crc: int = -1) -> array.array[float] | None:
    """Return row `row` of an attempt's side file, `width` float32 values; None where it is torn, missing or damaged.

    Args:
        attempt: the directory of the attempt.
        row: the number of the row, from 0.
        width: the number of values in a row.
        crc: the CRC-32 of the row, -1 where it is unknown.
    """
    try:
        with confined.reading(attempt.layers) as file:
            file.seek(row * width * 4)
            data = file.read(width * 4)
    except OSError:
        return None
    if len(data) < width * 4 or (crc >= 0 and zlib.crc32(data) != crc):
        return None
    values = array.array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _by_worker(entries: Iterable[HistoryEntry]) -> Iterator[Event]:
    return (entry.event for entry in entries if not entry.collected)


def _by_attempt(control: Iterable[Event]) -> dict[int, list[Collected]]:
    """Return the collected metrics among the events of a control file, by attempt."""
    found: dict[int, list[Collected]] = {}
    for event in control:
        if isinstance(event, Collected):
            found.setdefault(event.attempt, []).append(event)
    return found
