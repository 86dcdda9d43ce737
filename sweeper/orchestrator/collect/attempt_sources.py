"""Read the sources of one attempt: which files there are, what of them is on the record, and at which steps values are.

Everything that has to survive an orchestrator is in the trial's `control.jsonl`: each `Collected` has the file and the
offset up to which it was read. A value is therefore neither lost nor written twice, whenever a process dies.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial

from sweeper.orchestrator.collect.files import files_below, matching, open_regular
from sweeper.orchestrator.collect.groups import OUTPUT, SourceGroup, folder_of
from sweeper.orchestrator.collect.output import OutputReader
from sweeper.orchestrator.collect.reading import MOST_NAMES, FileReader, Reading
from sweeper.orchestrator.collect.tracked_file import TrackedFile
from sweeper.record.events import Collected, Event, Noticed
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.output import cut_of

REPORTED = "the script reports it itself, so its source is not used"


class AttemptSources:
    """Reads the sources of an attempt as its files grow.

    Args:
        attempt: the attempt.
        groups: the sources of the sweep.
    """

    def __init__(self, attempt: AttemptDir, groups: Sequence[SourceGroup]) -> None:
        self._attempt = attempt
        self._groups = groups
        self._files: dict[tuple[int, str], TrackedFile] = {}
        self._counts: dict[str, int] = {}
        self._read_to: dict[tuple[str, str], tuple[int, int]] = {}
        self._read_before: Mapping[tuple[str, str], tuple[int, int]] = {}
        self._folders: dict[str, set[str]] = {}
        self._names: dict[str, set[str]] = {}
        self._problems: set[str] = set()
        for event in self._recorded():
            self._take(event)

    def _recorded(self) -> list[Event]:
        return read_journal(self._attempt.trial.control)

    def _take(self, event: Event) -> None:
        if isinstance(event, Collected):
            for name in event.values:
                self._read_to[event.file, name] = event.offset, event.mark
                if event.attempt == self._attempt.number:
                    self._counts[name] = self._counts.get(name, 0) + 1
                    self._folders.setdefault(name, set()).add(event.file)
        elif isinstance(event, Noticed):
            self._names.setdefault(event.place, set()).update(event.names)
            if event.metric:
                self._problems.add(event.metric)

    def collect(
        self, *, after: int, step: int | None, reported: Container[str] = (), final: bool = False
    ) -> list[Event]:
        """Return what is new in the sources, as events to be recorded.

        Args:
            after: the number of the attempt's own events that were read by now.
            step: the newest optimizer step that the attempt reported, for values without a step of their own; None
                if it reports none. Their step is then their number, from 0.
            reported: metrics that the attempt reports itself; their sources are not used, so no value counts twice.
            final: whether the attempt has ended, so that everything is read to its end.
        """
        events: list[Event] = []
        self._read_before = dict(self._read_to)
        needs_files = any(group.kind != OUTPUT for group in self._groups)
        names = files_below(self._attempt.trial) if needs_files else []
        for number, group in enumerate(self._groups):
            files = [f"attempts/{self._attempt.number}/output.log"]
            if group.kind != OUTPUT:
                files = matching(names, group.files)
                events += self._notice(group, [], found=bool(files))
            for name in files:
                found = self._file(number, group, name)
                while True:
                    offset, readings = found.reader.offset, list(self._read(found, name, final=final))
                    events += self._collected(found, name, readings, after=after, step=step, reported=reported)
                    events += self._notice(group, list(found.reader.names), found=True)
                    if not final or found.reader.offset == offset:
                        break
                events += self._notice_problems(group, found.reader.problems)
        return events

    # ---- files --------------------------------------------------------------------------------------------------

    def _file(self, number: int, group: SourceGroup, name: str) -> TrackedFile:
        if (number, name) not in self._files:
            given = [metric for metric in group.metrics if (name, metric) in self._read_to]
            reader = group.reader(name, given)
            if isinstance(reader, OutputReader):
                reader.cut = partial(cut_of, self._attempt)
            self._files[number, name] = TrackedFile(reader)
        return self._files[number, name]

    def _read(self, found: TrackedFile, name: str, *, final: bool) -> Iterator[tuple[Reading, int]]:
        """Yield each new reading of a file with the checksum of the file up to there."""
        try:
            fd = open_regular(self._attempt.trial.path / name)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                found.reader.problems |= dict.fromkeys(found.reader.metrics, f"{name} cannot be read: {error.strerror}")
            return
        try:
            status = os.fstat(fd)
            signature = status.st_ino, status.st_size, status.st_mtime_ns
            if signature != found.signature:
                self._check(found, fd, name, status.st_size)
            elif not final and found.reader.offset >= status.st_size:
                return
            for reading in found.reader.read(fd, status.st_size, final=final):
                yield reading, found.reader.mark(fd, reading.offset)
            found.signature, found.mark = signature, found.reader.mark(fd, found.reader.offset)
        except OSError as error:
            found.reader.problems |= dict.fromkeys(found.reader.metrics, f"{name} cannot be read: {error.strerror}")
        finally:
            os.close(fd)

    def _check(self, found: TrackedFile, fd: int, name: str, size: int) -> None:
        """Begin where the record ends, or anew if the file was replaced."""
        reader = found.reader
        reader.prepare(fd, size)
        if found.signature is None:
            recorded = {metric: self._read_to.get((name, metric)) for metric in reader.metrics}
            known = {metric: place for metric, place in recorded.items() if place is not None}
            known = known or self._under_another_name(reader, fd, name, size)
            for metric, (offset, mark) in known.items():
                if offset <= size and reader.is_same(fd, offset, mark):
                    found.until[metric] = offset
            reader.offset = min((found.until.get(metric, 0) for metric in reader.metrics), default=0)
            replaced = len(found.until) < len(known)
        else:
            replaced = reader.offset > size or not reader.is_same(fd, reader.offset, found.mark)
            if replaced:
                reader.restart()
                found.until = {}
        if replaced:
            found.expect_again(self._values_of(name))

    def _under_another_name(self, reader: FileReader, fd: int, name: str, size: int) -> dict[str, tuple[int, int]]:
        """Return up to where a file was read before it got this name, as a rotated file does; empty if it was not."""
        return {
            metric: (offset, mark)
            for (other, metric), (offset, mark) in self._read_before.items()
            if metric in reader.metrics and other != name and offset <= size and reader.mark(fd, offset) == mark
            if not self._is_unchanged(reader, other, offset, mark)
        }

    def _is_unchanged(self, reader: FileReader, name: str, offset: int, mark: int) -> bool:
        """Return whether a file still has what was read of it."""
        try:
            fd = open_regular(self._attempt.trial.path / name)
        except OSError:
            return False
        try:
            return os.fstat(fd).st_size >= offset and reader.mark(fd, offset) == mark
        finally:
            os.close(fd)

    def _values_of(self, name: str) -> dict[str, list[tuple[int, str]]]:
        """Return step and text of the values of this attempt from a file, by metric, as they are on the record."""
        values: dict[str, list[tuple[int, str]]] = {}
        for event in self._recorded():
            if isinstance(event, Collected) and event.file == name and event.attempt == self._attempt.number:
                for metric, value in event.values.items():
                    values.setdefault(metric, []).append((event.step, repr(value)))
        return values

    # ---- events -------------------------------------------------------------------------------------------------

    def _collected(  # noqa: PLR0913 - most by name
        self,
        found: TrackedFile,
        name: str,
        readings: Iterable[tuple[Reading, int]],
        *,
        after: int,
        step: int | None,
        reported: Container[str],
    ) -> list[Event]:
        """Return the new values as events, those of one step together."""
        events: list[Collected] = []
        for reading, mark in readings:
            for metric, value in reading.values.items():
                if not found.is_new(metric, value, reading):
                    continue
                if metric in reported:
                    found.reader.problems[metric] = REPORTED
                    continue
                at = self._counts.get(metric, 0) if step is None else step
                at = at if reading.step is None else reading.step
                last = events[-1] if events else None
                values: Mapping[str, float] = {metric: value}
                if last is not None and last.step == at and metric not in last.values:
                    values = {**events.pop().values, metric: value}
                event = Collected(
                    attempt=self._attempt.number,
                    step=at,
                    values=values,
                    file=name,
                    offset=reading.offset,
                    mark=mark,
                    after=after,
                )
                events.append(event)
                self._read_to[name, metric] = reading.offset, mark
                self._counts[metric] = self._counts.get(metric, 0) + 1
                self._folders.setdefault(metric, set()).add(name)
        return list(events)

    def _notice(self, group: SourceGroup, names: Sequence[str], *, found: bool) -> Iterator[Event]:
        """Yield that files of a group exist, and which names they have, each once."""
        if not found:
            return
        is_first = group.place not in self._names
        known = self._names.setdefault(group.place, set())
        new = [name for name in names if name not in known][: MOST_NAMES - len(known)]
        if new or (is_first and group.kind != OUTPUT):
            known.update(new)
            yield Noticed(attempt=self._attempt.number, place=group.place, names=tuple(new))

    def _notice_problems(self, group: SourceGroup, problems: Mapping[str, str]) -> Iterator[Event]:
        """Yield the first problem of each metric: a value that is no number, or several files to choose from."""
        for metric in group.metrics:
            problem = problems.get(metric, "")
            places = sorted({folder_of(group.kind, file) for file in self._folders.get(metric, ())})
            if len(places) > 1 and group.kind != OUTPUT:
                problem = f"its values come from several places ({', '.join(places[:3])}); choose one with `file`"
            if problem and metric not in self._problems:
                self._problems.add(metric)
                yield Noticed(attempt=self._attempt.number, place=group.place, metric=metric, problem=problem)
