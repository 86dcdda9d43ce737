"""The cache of trials that have ended: `ended.jsonl`, a line each, so that their records need not be read again.

1. It is a projection: if it is deleted, the records are read, and the next orchestrator writes it anew.
2. A line is valid while its checksum is right and while every file that the trial was read from has the size and the
   modification time in the line. Otherwise the trial is read from its record.
3. The head of a line holds what is read for all trials at once. The rest, most of it, is decoded when it is first used.
4. Only the orchestrator of a run writes it, without waiting for the disk.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import typing
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from functools import cache
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.attempt import CAUSES, Attempt
from sweeper.record.derivation import Derivation
from sweeper.record.events import Event, Watching
from sweeper.record.facts import Facts, RetryPolicy
from sweeper.record.marks import Marks, has_changed, holds, marks_of
from sweeper.record.objectives import Constraint, Objective, Row, Rows
from sweeper.record.progress import Progress, Series
from sweeper.record.reader import TrialReader, open_trials, read_trial
from sweeper.record.storage import confined
from sweeper.record.storage.codec import DAMAGE, reader_of, to_plain
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.trial import STATES, State, TrialRecord

MOST_BYTES = 1 << 30
"""Maximum size of the cache that is read; a larger one is as good as none."""

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class EndedTrials:
    """The trials in `ended.jsonl` with valid lines, by number; `stale` is the number of lines of no use."""

    def __init__(self, run: SweepDir) -> None:
        self._marks, self.trials, self.stale = _read(run)

    def refresh(self) -> None:
        """Drop the trials with records that have changed since: they may have been revived."""
        self.trials = {n: trial for n, trial in self.trials.items() if holds(trial.directory, self._marks[n])}

    def has_changed(self, number: int, *, only: str = "") -> bool:
        """Return whether the record of a trial has changed since; with `only`, whether this file of it has."""
        return has_changed(self.trials[number].directory, self._marks[number], only=only)


class EndedWriter:
    """Appends ended trials to `ended.jsonl`. What the disk does not take is read from the record again."""

    def __init__(self, run: SweepDir, *, anew: bool = False) -> None:
        """Append to the file, or with `anew` replace it."""
        self._path = run.ended
        self._written: set[int] = set()
        if anew:
            with contextlib.suppress(OSError):
                confined.remove(self._path)

    def append(self, ended: Iterable[TrialReader]) -> None:
        """Append the trials of these readers, except those with records that have grown since, or are damaged."""
        sound = [(reader.trial, marks_of(reader)) for reader in ended if not reader.trial.damage]
        lines = [line for trial, marks in sound if marks for line in self._lines(trial, marks)]
        if lines:
            with contextlib.suppress(OSError), os.fdopen(confined.open_file(self._path, _APPEND), "ab") as file:
                file.write(b"".join(b"\n" + line for line in lines))  # the newline first: a torn line ends there

    def _lines(self, trial: TrialRecord, marks: Marks) -> Iterator[bytes]:
        """Yield the line of a trial, after a line with what it watches: many trials watch the same tensors."""
        watching = trial.progress.watching
        key = 0 if watching is None else zlib.crc32(repr(watching).encode())
        if watching is not None and key not in self._written:
            self._written.add(key)
            yield _line({"watching": to_plain(watching), "key": key})
        head = {"form": _form(), "number": trial.number, "marks": marks, "state": trial.state.value}
        head |= {"step": trial.step, "latest": trial.latest, "derived": trial.is_derived, "watching": key}
        parts = replace(trial, progress=replace(trial.progress, watching=None))
        yield _line(head, {name: to_plain(getattr(parts, name)) for name in _PARTS})


def read_states(run: SweepDir) -> tuple[list[TrialRecord], dict[int, str]]:
    """Return each trial of a run as its record has it now, and by number why others cannot be read."""
    known = EndedTrials(run).trials
    readers, unreadable = open_trials(run, known)
    for reader in readers:
        try:
            reader.poll()
        except RecordError as error:
            unreadable[reader.trial.number] = str(error)
        else:
            known[reader.trial.number] = reader.trial
    return [known[number] for number in sorted(known)], unreadable


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pause the garbage collector, and exclude from it what is made meanwhile: none of that is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


# ---- reading --------------------------------------------------------------------------------------------------------


def _read(run: SweepDir) -> tuple[dict[int, Marks], dict[int, TrialRecord], int]:
    """Return the marks and the valid trials by number, and how many lines are of no use."""
    try:
        lines = [line for line in confined.read_bytes(run.ended, most=MOST_BYTES).split(b"\n") if line]
    except OSError:
        return {}, {}, 0
    heads: dict[int, tuple[dict[str, Any], bytes]] = {}
    watched: dict[int, Watching | None] = {0: None}
    trials: dict[int, TrialRecord] = {}
    with without_garbage_collection():
        for line in lines:
            with contextlib.suppress(*DAMAGE):
                head, rest = _split(line)
                if "number" not in head:
                    watched[head["key"]] = reader_of(Watching)(head["watching"])
                elif head["form"] == _form() and type(head["number"]) is int:
                    heads[head["number"]] = head, rest
        for number, (head, rest) in sorted(heads.items()):
            directory = run.trial(number)
            with contextlib.suppress(*DAMAGE):
                if holds(directory, head["marks"]):
                    trials[number] = _CachedTrial.of(directory, head, watched[head["watching"]], rest)
    return {number: heads[number][0]["marks"] for number in trials}, trials, len(lines) - len(trials)


class _CachedTrial(TrialRecord):
    """A trial that decodes its parts when one of them is first used; if that fails, the record is read."""

    __slots__ = ("_rest",)
    _rest: tuple[Watching | None, bytes]

    @classmethod
    def of(cls, directory: TrialDir, head: Mapping[str, Any], watching: Watching | None, rest: bytes) -> TrialRecord:
        trial = object.__new__(cls)
        known = (State(head["state"]), head["step"], head["latest"], head["derived"])
        values = (directory, *known, (), (watching, rest))
        for name, value in zip(_KNOWN, values, strict=True):
            object.__setattr__(trial, name, value)
        return trial

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any part
        if name not in _PARTS:
            raise AttributeError(name)
        watching, rest = self._rest
        try:
            body = json.loads(rest)
            parts = {part: _readers()[part](body[part]) for part in _PARTS}
            object.__setattr__(parts["progress"], "watching", watching)  # it was made just now
        except DAMAGE:  # the checksum is right, so a person has edited the line with care
            read = read_trial(self.directory)
            parts = {part: getattr(read, part) for part in _PARTS}
        for part in _PARTS:
            object.__setattr__(self, part, parts[part])
        object.__delattr__(self, "_rest")
        return parts[name]

    def _whole(self) -> TrialRecord:
        parts = {part: getattr(self, part) for part in _PARTS}
        return TrialRecord(directory=self.directory, damage=self.damage, **parts)

    def __eq__(self, other: object) -> bool:
        return self._whole() == other

    __hash__ = None  # type: ignore[assignment]  # like every trial

    def __repr__(self) -> str:
        return repr(self._whole())


_PARTS = ("facts", "attempts", "unlaunched", "progress", "paused", "diagnosed", "noticed")
_KNOWN = ("directory", "state", "step", "latest", "is_derived", "damage", "_rest")


# ---- lines ----------------------------------------------------------------------------------------------------------


def _line(*bodies: Mapping[str, object]) -> bytes:
    text = b"\t".join(json.dumps(body, separators=(",", ":")).encode() for body in bodies)
    return f"{zlib.crc32(text):08x} ".encode() + text


def _split(line: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the decoded head of a line, and the rest.

    Raises:
        ValueError: the line is torn or edited.
    """
    checksum, _, text = line.partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("the checksum is wrong")
    head, _, rest = text.partition(b"\t")
    return json.loads(head), rest


@cache
def _readers() -> Mapping[str, Any]:
    hints = typing.get_type_hints(TrialRecord)
    return {part: reader_of(hints[part]) for part in _PARTS}


@cache
def _form() -> str:
    """Return a checksum of all fields, types and defaults, and of the tables of states and causes.

    A line that another version wrote is not read.
    """
    ranking = (Objective, Constraint, Rows, Row)
    kinds = (TrialRecord, Facts, RetryPolicy, Derivation, *ranking, Attempt, Progress, Series, *Event.__subclasses__())
    known = [
        (kind.__name__, item.name, item.type, "" if item.default is MISSING else item.default)
        for kind in kinds
        for item in fields(kind)
    ]
    tables = [row.when for row in (*STATES, *CAUSES)]
    return f"{zlib.crc32(repr((known, tables)).encode()):08x}"
