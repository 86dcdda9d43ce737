"""Events as lines of JSON, and frozen dataclasses as JSON objects.

Rules of the format:
1. One event a line: ``{"event": "Metrics", "time": 1.5, "step": 3, "values": {"loss": "nan"}}``.
2. ``time`` is the writer's wall clock in seconds since the epoch. Only budgets of hours depend on it.
3. NaN and the infinities, which JSON lacks, are the strings ``"nan"``, ``"inf"``, ``"-inf"``.
4. A reader skips event names and keys that it does not know, so that an older reader can read newer records.
5. A reader maps the names of format 1 to those of format 2 (`RENAMED`).
6. Since format 3, the last key of a line or a file is its checksum, ``crc`` (`checksums`). Journals verify it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sweeper.record.decision import Decision
from sweeper.record.events import FORMAT, Continued, Event, Paused, Unpaused
from sweeper.record.storage.checksums import sealed, unsealed

DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""The exceptions that reading JSON of an unexpected form can raise."""

RENAMED: Mapping[object, tuple[type[Event], Mapping[str, str]]] = {
    "Condemned": (Continued, {"spared": "cause"}),
    "Held": (Paused, {}),
    "Released": (Unpaused, {}),
}
"""The events of format 1 that have another name since, and their keys."""


def encode(event: Event) -> bytes:
    """Return the event as a line of JSON with its newline."""
    body: dict[str, object] = {"event": type(event).__name__}
    for name in event.__dataclass_fields__:
        body[name] = _explicit(getattr(event, name))
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Event | None:
    """Return the event of a line, or None for an event that this version does not know.

    Raises:
        ValueError: the line is not an event: torn, edited, or not JSON.
    """
    try:
        return _event(_JSON.decode(line.decode()))
    except DAMAGE as error:
        message = f"not an event: {line[:80]!r} ({error})"
        raise ValueError(message) from error


def encode_file(event: Event) -> bytes:
    """Return a file with one event, the number of the format, and a checksum."""
    return sealed(encode(event)[:-2] + b',"format":%d}' % FORMAT)


def decode_file(data: bytes) -> Event | None:
    """Return the event of a file that `encode_file` made, or an older version; None if this version does not know it.

    Raises:
        ValueError: the file is not an event, or not as it was written.
    """
    try:
        return _event(unsealed(data))
    except DAMAGE as error:
        raise ValueError(f"not an event as it was written ({error})") from error


def decode_all(lines: Sequence[bytes]) -> list[Event | None]:
    """Return the same as `decode` for each line, but faster.

    Raises:
        ValueError: one of the lines is not an event.
    """
    try:
        # The lines become an array of arrays, one each, so that two halves of an event are not read as a whole one: no
        # string continues past the newline, no object past "],[", and an array of arrays would have fewer of them.
        bodies = _JSON.decode((b"[[" + b"]\n,[".join(lines) + b"]]").decode()) if lines else []
        if len(bodies) != len(lines):
            raise ValueError("not as many events as lines")
        return [_event(body) for (body,) in bodies]
    except DAMAGE as error:
        raise ValueError(f"not an event in one of {len(lines)} lines ({error})") from error


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any field of a dataclass
    """Return a value as JSON can hold it; of a dataclass, only the fields that are not the default.

    `reader_of` the value's type reads it back. NaN and the infinities stay numbers, which Python's JSON can hold.
    """
    if dataclasses.is_dataclass(value):
        given = {item.name: (getattr(value, item.name), item.default) for item in dataclasses.fields(value)}
        return {name: to_plain(part) for name, (part, default) in given.items() if part is not default}
    if isinstance(value, Mapping):
        return {key: to_plain(part) for key, part in value.items()}
    return [to_plain(part) for part in value] if isinstance(value, list | tuple) else value


@cache
def reader_of(hint: object) -> Callable[[object], Any]:
    """Return the function that reads a value of this type from JSON, and raises TypeError for any other value."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is object:
        return lambda value: value
    if hint is float or hint is int:
        return _number if hint is float else _integer
    if hint is Decision:
        return Decision.read
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast("type", hint))
    if origin is tuple:
        item, listed = reader_of(arguments[0]), _exactly(list)
        return lambda value: tuple(map(item, listed(value)))  # type: ignore[call-overload]  # it is a list
    if origin is Mapping:
        return _mapping(reader_of(arguments[1]), _PLAIN.get(arguments[1]))
    if origin is Sequence:
        return _exactly(list)
    if origin is types.UnionType:
        inner = reader_of(next(argument for argument in arguments if argument is not type(None)))
        return lambda value: None if value is None else inner(value)
    return _exactly(typing.cast("type", hint))


def _explicit(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Decision):
        return _explicit(value.to_json())
    if dataclasses.is_dataclass(value):
        return {item.name: _explicit(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _explicit(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_explicit(item) for item in value]
    return value


def _event(body: Mapping[str, object]) -> Event | None:
    kind = _EVENTS.get(body["event"])  # type: ignore[call-overload]  # what is not a string is not a key
    if kind is None:
        if body["event"] not in RENAMED:
            return None
        kind, keys = RENAMED[body["event"]]
        body = {keys.get(name, name): value for name, value in body.items()}
    event: Event = _BARE(kind)
    # A frozen dataclass calls its own __setattr__ for every field, so that its constructor takes twice as long.
    try:
        for name, plain, read, put in _READERS[kind]:
            value = body[name]
            put(event, value if type(value) is plain else read(value))
    except KeyError:  # of an older writer: the constructor has the defaults
        event = kind(**{name: read(body[name]) for name, _, read, _ in _READERS[kind] if name in body})
    return event


# Each field of the many events of many trials is read here: the usual case comes first, and without another call.


def _number(value: object) -> float:
    if type(value) is str or type(value) is float or type(value) is int:
        return float(value)
    raise _unlike("a number", value)


def _integer(value: object) -> object:
    """Return an integer that fits 64 bits: no writer writes a larger one, and arithmetic of readers relies on it."""
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    raise _unlike("int", value)


def _exactly(kind: type) -> Callable[[object], object]:
    def read(value: object) -> object:
        if isinstance(value, kind):
            return value
        raise _unlike(kind.__name__, value)

    return read


def _mapping(item: Callable[[object], object], plain: type | None) -> Callable[[object], object]:
    def read(value: object) -> object:
        if type(value) is dict:
            if {*map(type, value.values())} == {plain}:
                return value
            return {key: item(one) for key, one in value.items()}
        raise _unlike("dict", value)

    return read


def _object(kind: type) -> Callable[[object], object]:
    hints = typing.get_type_hints(kind)
    parts = [
        (item.name, reader_of(hints[item.name]), getattr(kind, item.name).__set__, item.default, item.default_factory)
        for item in dataclasses.fields(kind)
    ]

    def read(value: object) -> object:
        if type(value) is not dict:
            raise _unlike(kind.__name__, value)
        made: object = _BARE(kind)  # without the constructor, as in `_event`
        for name, read_part, put, default, factory in parts:
            if name in value:
                put(made, read_part(value[name]))
            elif default is not dataclasses.MISSING:
                put(made, default)
            elif factory is not dataclasses.MISSING:
                put(made, factory())
            else:
                raise KeyError(name)
        return made

    return read


def _unlike(what: str, value: object) -> TypeError:
    return TypeError(f"expected {what}, got {value!r}")


_LEAST, _MOST = -(2**63), 2**63 - 1
_JSON = json.JSONDecoder()
_BARE = object.__new__

_PLAIN: Mapping[object, type] = {float: float, str: str}
"""Types with values that need no conversion."""

# The subclasses of Event are inspected once, so that a line costs two dictionary lookups and no reflection.
_EVENTS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}
_HINTS: Mapping[type[Event], Mapping[str, object]] = {kind: typing.get_type_hints(kind) for kind in _EVENTS.values()}
_READERS: Mapping[type[Event], Sequence[tuple[str, type | None, Callable[[object], Any], Callable[..., None]]]] = {
    kind: [
        (item.name, _PLAIN.get(hints[item.name]), reader_of(hints[item.name]), getattr(kind, item.name).__set__)
        for item in dataclasses.fields(kind)
    ]
    for kind, hints in _HINTS.items()
}
