"""Check a whole record against its checksums: journals, JSON files, rows of `layers.f32`, and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.record.events import Event, Exit, Observation, Watching
from sweeper.record.facts import Facts
from sweeper.record.reader import is_alive, missing_end, read_row
from sweeper.record.storage import confined
from sweeper.record.storage.checkpoint_file import NAME, is_whole
from sweeper.record.storage.checksums import Damage, has_sum, needs_sum, unsealed
from sweeper.record.storage.codec import decode_file
from sweeper.record.storage.journal import JournalReader
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir
from sweeper.record.storage.lease import is_held


@dataclass(slots=True)
class Verification:
    """What was checked, and what is wrong.

    Attributes:
        files: how many JSON files were checked.
        lines: how many lines of journals were checked.
        rows: how many rows of `layers.f32` were checked.
        checkpoints: how many checkpoints were checked.
        files_without: how many JSON files have no checksum, because an older version wrote them.
        lines_without: the same of lines.
        rows_without: the same of rows.
        damage: the places that are not as they were written.
        harmless: the lines that were left out although nothing that was recorded is missing.
    """

    files: int = 0
    lines: int = 0
    rows: int = 0
    checkpoints: int = 0
    files_without: int = 0
    lines_without: int = 0
    rows_without: int = 0
    damage: list[Damage] = field(default_factory=list)
    harmless: list[Damage] = field(default_factory=list)

    def check_file(self, path: Path, read: Callable[[bytes], object] = unsealed, *, must_exist: bool = False) -> object:
        """Check a JSON file, if it exists; return what is in it, None if it is damaged."""
        try:
            data = confined.read_bytes(path)
        except FileNotFoundError:
            if must_exist:
                self._blame(path, "it is missing")
            return None
        except OSError as error:
            self._blame(path, f"it cannot be read: {error.strerror}")
            return None
        self.files += 1
        try:
            value = read(data)
        except (ValueError, RecursionError) as error:
            self._blame(path, str(error))
            return None
        self.files_without += not has_sum(data)
        return value

    def check_journal(self, path: Path, *, strict: bool, written: bool) -> tuple[JournalReader, list[Event]]:
        """Check a journal; return its reader and its events.

        Args:
            path: the file.
            strict: whether each line must have a checksum.
            written: whether a process may append to it now, so that its last line may be incomplete.
        """
        reader = JournalReader(path, strict)
        try:
            events = reader.read()
        except RecordError as error:
            self._blame(path, str(error).removeprefix(f"{path}: "))
            return reader, []
        self.lines += reader.lines
        self.lines_without += reader.unsummed
        places, last = list(reader.damage), reader.incomplete
        if last is not None and not (written and last.torn):
            places.append(last)
        for one in places:
            (self.harmless if one.torn else self.damage).append(one)
        return reader, events

    def check_rows(self, attempt: AttemptDir, events: list[Event]) -> None:
        """Check the rows of `layers.f32` that the observations of an attempt name."""
        width = 0
        for event in events:
            if isinstance(event, Watching):
                width = event.row_width
            elif isinstance(event, Observation) and width:
                self.rows += 1
                self.rows_without += event.row_crc < 0
                if read_row(attempt, event.row, width, event.row_crc) is None:
                    what = f"row {event.row} (step {event.step}) is missing or does not match its checksum"
                    self._blame(attempt.layers, what)

    def check_checkpoint(self, path: Path) -> None:
        """Check a checkpoint against the checksum in its name."""
        self.checkpoints += 1
        try:
            whole = is_whole(path)
        except OSError as error:
            self._blame(path, f"it cannot be read: {error.strerror}")
        else:
            if not whole:
                self._blame(path, "its content does not match the checksum in its name")

    def _blame(self, path: Path, what: str) -> None:
        self.damage.append(Damage(file=path, line=0, what=what))


def verify(run: SweepDir) -> Verification:
    """Check the whole record of a run, and nothing that can be rebuilt from it. No cache is used."""
    found = Verification()
    held = is_held(run.lease)
    found.check_file(run.spec, must_exist=True)
    for path in (run.ray, *_visible(run.inbox, "*.json")):
        found.check_file(path)
    for path in (run.log, run.search):
        found.check_journal(path, strict=False, written=held)  # an older version may have begun them
    for trial in run.entries():
        if not trial.is_unmade:
            _check_trial(found, trial, held=held)
    return found


def _check_trial(found: Verification, trial: TrialDir, *, held: bool) -> None:
    value = found.check_file(trial.facts, must_exist=True)
    strict = isinstance(value, dict) and needs_sum(value)
    if value is not None:
        try:
            Facts.read(trial)
        except RecordError as error:
            found.damage.append(Damage(file=trial.facts, line=0, what=str(error).removeprefix(f"{trial.facts}: ")))
    found.check_journal(trial.control, strict=strict, written=held)
    for attempt in trial.attempts():
        for path in (attempt.claim, attempt.resumption):
            found.check_file(path)
        for path in attempt.last_words:
            found.check_file(path, decode_file)
        end = found.check_file(attempt.exit, decode_file)
        alive = is_alive(attempt)
        reader, events = found.check_journal(attempt.events, strict=strict, written=alive)
        found.check_rows(attempt, events)
        if isinstance(end, Exit):
            found.damage += missing_end(reader, end.events_bytes)
    for path in _visible(trial.checkpoints, "step-*.pt"):
        if NAME.fullmatch(path.name):
            found.check_checkpoint(path)


def _visible(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in sorted(folder.glob(pattern)) if not path.name.startswith("."))
