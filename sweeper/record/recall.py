"""What trials that have ended were folded to, a line each, so that nobody has to read them again: `ended.jsonl`.

1. It is a projection: delete it, and all is read from the record; the next orchestrator makes it anew.
2. A line holds while its checksum is right, and while every file that the trial was folded from has the size and the
   time of its last change that the line says. Where it does not hold, the trial is read.
3. Only the orchestrator of a run writes it: what is new in one write, and without waiting for the disk.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.events import Event, Watching
from sweeper.record.fold import Control, Progress, Retry, Series
from sweeper.record.layout import SweepDir, TrialDir
from sweeper.record.trial import Facts, Trial, TrialReader, open_trials

_NEVER = (-1, 0)
"""The size and the time of a file that is not there."""

Mark = tuple[int, int]
"""Size in bytes, and the time of the last change in nanoseconds, of a file."""


def recall(run: SweepDir) -> tuple[dict[int, Trial], int]:
    """The trials that are remembered as they are, by number; and how many lines say nothing any more."""
    found = Recalled(run)
    return found.trials, found.stale


class Recalled:
    """The trials that are remembered as they are, by number; `stale` is how many lines say nothing any more."""

    def __init__(self, run: SweepDir) -> None:
        self._marks, self.trials, self.stale = _read(run, run.path / "trials")

    def look_again(self) -> None:
        """Leave out those that something was done with since: they may have been revived."""
        self.trials = {
            number: trial
            for number, trial in self.trials.items()
            if _holds(f"{trial.directory.path}{os.sep}", self._marks[number])
        }


def _read(run: SweepDir, folder: Path) -> tuple[dict[int, Mapping[str, Mark]], dict[int, Trial], int]:
    try:
        lines = [line for line in run.ended.read_bytes().split(b"\n") if line]
    except OSError:
        return {}, {}, 0
    form, found = _Form(), {}
    with uncollected():
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
                body = form.read(line)
                if body is not None:
                    found[body["number"]] = body
        trials = {}
        for number, body in sorted(found.items()):
            name = f"{number:04d}"
            if _holds(f"{folder}{os.sep}{name}{os.sep}", body["marks"]):
                trials[number] = Trial(directory=TrialDir(folder / name), **body["trial"])
    return {number: found[number]["marks"] for number in trials}, trials, len(lines) - len(trials)


def read_states(run: SweepDir) -> tuple[list[Trial], dict[int, str]]:
    """Each trial of a run as its record has it now, by number; why the others cannot be read, by number too."""
    known, _ = recall(run)
    readers, unreadable = open_trials(run, known)
    for reader in readers:
        try:
            reader.poll()
        except RecordError as error:
            unreadable[reader.trial.facts.number] = str(error)
        else:
            known[reader.trial.facts.number] = reader.trial
    return [known[number] for number in sorted(known)], unreadable


class Memory:
    """Appends what trials were folded to; what the disk does not take is read from the record again."""

    def __init__(self, run: SweepDir, *, anew: bool = False) -> None:
        """Go on with what is there, or make it `anew`."""
        self._path = run.ended
        self._form = _Form()
        if anew:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def keep(self, ended: Iterable[TrialReader]) -> None:
        """Keep trials as these readers have them, but for those of which there is more to be read."""
        lines = [
            line for reader in ended if (marks := _marks(reader)) for line in self._form.lines(reader.trial, marks)
        ]
        if lines:
            with contextlib.suppress(OSError), self._path.open("ab") as file:
                file.write(b"".join(b"\n" + line for line in lines))  # the newline first: whatever is torn ends there


def _marks(reader: TrialReader) -> dict[str, Mark]:
    """Of every file that was read, and of those whose absence was; empty where one is not as it was read."""
    trial = reader.trial
    sizes = {trial.directory.facts: None, **reader.extent()}
    sizes |= {trial.directory.attempt(number).exit: None for number in trial.control.launched}
    marks = {}
    for path, size in sizes.items():
        mark = _mark(str(path))
        if size is not None and max(0, mark[0]) != size:
            return {}
        marks[str(path.relative_to(trial.directory.path))] = mark
    return marks


def _holds(place: str, marks: Mapping[str, Mark]) -> bool:
    for name, (size, time) in marks.items():  # noqa: SIM110 - ten thousand times four
        if _mark(place + name) != (size, time):
            return False
    return True


def _mark(path: str) -> Mark:
    try:
        status = os.stat(path)  # noqa: PTH116 - ten thousand times four; a Path takes as long again
    except OSError:
        return _NEVER
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector: nothing that is made here is garbage, nor is it looked through again later."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


# ---- the form of a line -------------------------------------------------------------------------------------------

_KIND, _ITEMS = "_", "items"
_SAVED = (Facts, Retry, Control, Progress, Series, *(kind for kind in Event.__subclasses__() if kind is not Watching))
_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in _SAVED}
_GATHERED: Mapping[str, Any] = {"tuple": tuple, "frozenset": frozenset, "pairs": dict}
_DEFAULTS: Mapping[type, Mapping[str, Any]] = {
    kind: {
        item.name: item.default_factory() if item.default_factory is not MISSING else item.default
        for item in fields(kind)
    }
    for kind in _SAVED
}


class _Form:
    """Lines of JSON in which an object says its kind and what is not its default; what is watched stands only once."""

    def __init__(self) -> None:
        self._watched: dict[str, Watching] = {}
        self._decoder = json.JSONDecoder(object_hook=self._object)

    def lines(self, trial: Trial, marks: Mapping[str, Mark]) -> list[bytes]:
        """The line of a trial, and before it what it watches, where no line has that yet."""
        watching, lines = trial.progress.watching, []
        if watching is not None and (key := _key(watching)) not in self._watched:
            self._watched[key] = watching
            lines.append(
                _line({"watching": {item.name: _plain(getattr(watching, item.name)) for item in fields(watching)}})
            )
        parts = {name: getattr(trial, name) for name in ("facts", "control", "progress", "exits", "damaged")}
        body = {"number": trial.facts.number, "marks": marks, "trial": {k: _plain(v) for k, v in parts.items()}}
        return [*lines, _line(body)]

    def read(self, line: bytes) -> dict[str, Any] | None:
        """What a line says of a trial; None for one of what is watched, which is kept.

        Raises:
            ValueError: it is torn, or edited.
        """
        checksum, _, text = line.partition(b" ")
        if int(checksum, 16) != zlib.crc32(text):
            raise ValueError("the checksum is another")
        body: dict[str, Any] = self._decoder.decode(text.decode())
        if "watching" not in body:
            return body
        watching = Watching(**body["watching"])
        self._watched[_key(watching)] = watching
        return None

    def _object(self, found: dict[str, Any]) -> Any:  # noqa: ANN401 - what the kind says
        kind = found.pop(_KIND, None)
        if kind is None:
            return found
        if kind in _GATHERED:
            return _GATHERED[kind](found[_ITEMS])
        return self._watched[found[_ITEMS]] if kind == "watching" else _KINDS[kind](**found)


def _line(body: Mapping[str, object]) -> bytes:
    text = json.dumps(body, separators=(",", ":")).encode()
    return f"{zlib.crc32(text):08x} ".encode() + text


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a trial holds
    """What JSON can hold of a value, so that it comes back as it was."""
    if isinstance(value, Watching):
        return {_KIND: "watching", _ITEMS: _key(value)}
    if type(value) in _DEFAULTS:
        given = {name: getattr(value, name) for name in _DEFAULTS[type(value)]}
        told = {
            n: v for n, v in given.items() if not (v is _DEFAULTS[type(value)][n] or v == _DEFAULTS[type(value)][n])
        }
        return {_KIND: type(value).__name__, **{name: _plain(one) for name, one in told.items()}}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and _KIND not in value:
            return {key: _plain(one) for key, one in value.items()}
        return {_KIND: "pairs", _ITEMS: [[key, _plain(one)] for key, one in value.items()]}
    if isinstance(value, tuple | frozenset):
        return {_KIND: type(value).__name__, _ITEMS: [_plain(one) for one in value]}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _key(watching: Watching) -> str:
    return f"{zlib.crc32(repr(watching).encode()):08x}"
