"""What trials that have ended were folded to, a line each, so that nobody has to read them again: `ended.jsonl`.

1. It is a projection: delete it, and all is read from the record; the next orchestrator makes it anew.
2. A line holds while its checksum is right, and while every file that the trial was folded from has the size and the
   time of its last change that the line says. Where it does not hold, the trial is read.
3. The head of a line is what is asked of all trials at once. The rest, most of it, is taken apart once somebody asks
   for it: what a trial is told by costs nobody who counts them.
4. Only the orchestrator of a run writes it: what is new in one write, and without waiting for the disk.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.events import DAMAGE, Event, Watching
from sweeper.record.fold import Control, Progress, Retry, Series, State
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.trial import Facts, Trial, TrialReader, open_trials, read_trial

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
            with contextlib.suppress(*DAMAGE):
                read = form.read(line)
                if read is not None:
                    found[read[0]["number"]] = read
        trials: dict[int, Trial] = {}
        for number, (head, told) in sorted(found.items()):
            name = f"{number:04d}"
            with contextlib.suppress(*DAMAGE):
                if _holds(f"{folder}{os.sep}{name}{os.sep}", head["marks"]):
                    trials[number] = _Remembered.of(TrialDir(folder / name), head, partial(form.parts, told))
    return {number: found[number][0]["marks"] for number in trials}, trials, len(lines) - len(trials)


class _Remembered(Trial):
    """A trial that is taken apart once somebody asks for a part of it; where that fails, it is read."""

    __slots__ = ("_told",)
    _told: Callable[[], Mapping[str, Any]]

    @classmethod
    def of(cls, directory: TrialDir, head: Mapping[str, Any], told: Callable[[], Mapping[str, Any]]) -> Trial:
        """What the head of its line says of a trial, and `told`, which gives its parts."""
        trial = object.__new__(cls)
        state, step, latest, damaged = State(head["state"]), head["step"], head["latest"], head["damaged"]
        for name, value in zip(_KNOWN, (directory, state, step, latest, damaged, told), strict=True):
            object.__setattr__(trial, name, value)
        return trial

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whichever part is not there yet
        if name not in _PARTS:
            raise AttributeError(name)
        try:
            parts = self._told()
        except DAMAGE:  # its checksum is right all the same: somebody took pains
            read = read_trial(self.directory)
            parts = {part: getattr(read, part) for part in _PARTS}
        for part in _PARTS:
            object.__setattr__(self, part, parts[part])
        object.__delattr__(self, "_told")  # and with it the line
        return parts[name]

    def _whole(self) -> Trial:
        return Trial(directory=self.directory, damaged=self.damaged, **{part: getattr(self, part) for part in _PARTS})

    def __eq__(self, other: object) -> bool:
        return self._whole() == other

    __hash__ = None  # type: ignore[assignment]  # as that of every trial

    def __repr__(self) -> str:
        return repr(self._whole())


_PARTS = ("facts", "control", "progress", "exits")
_KNOWN = ("directory", "state", "step", "latest", "damaged", "_told")


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


_FORM = format(
    zlib.crc32(
        repr(
            [
                (kind.__name__, name, "" if default is MISSING else default)
                for kind, defaults in _DEFAULTS.items()
                for name, default in defaults.items()
            ]
        ).encode()
    ),
    "08x",
)
"""What another version of these kinds saved is not read by them."""


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
        head = {"form": _FORM, "number": trial.facts.number, "marks": marks, "state": trial.state.value}
        head |= {"step": trial.step, "latest": trial.latest, "damaged": trial.damaged}
        return [*lines, _line(head, {part: _plain(getattr(trial, part)) for part in _PARTS})]

    def read(self, line: bytes) -> tuple[dict[str, Any], bytes] | None:
        """The head of a trial's line, and the rest of it for `parts`; None for one of what is watched, which is kept.

        Raises:
            ValueError: it is torn, or edited, or of another form.
        """
        checksum, _, text = line.partition(b" ")
        if int(checksum, 16) != zlib.crc32(text):
            raise ValueError("the checksum is another")
        first, _, rest = text.partition(b"\t")
        head: dict[str, Any] = json.loads(first)
        if "watching" in head:
            watching = Watching(**self._decoder.decode(first.decode())["watching"])
            self._watched[_key(watching)] = watching
            return None
        if head["form"] != _FORM:
            raise ValueError("the form is another")
        return head, rest

    def parts(self, rest: bytes) -> Mapping[str, Any]:
        """Those of a trial."""
        parts: Mapping[str, Any] = self._decoder.decode(rest.decode())
        return {part: parts[part] for part in _PARTS}

    def _object(self, found: dict[str, Any]) -> Any:  # noqa: ANN401 - what the kind says
        kind = found.pop(_KIND, None)
        if kind is None:
            return found
        if kind in _GATHERED:
            return _GATHERED[kind](found[_ITEMS])
        return self._watched[found[_ITEMS]] if kind == "watching" else _KINDS[kind](**found)


def _line(*bodies: Mapping[str, object]) -> bytes:
    text = b"\t".join(json.dumps(body, separators=(",", ":")).encode() for body in bodies)
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
