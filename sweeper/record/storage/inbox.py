"""Commands to the orchestrator of a run: a file each in `inbox/`, moved there whole, removed once carried out.

An orchestrator that dies in between carries out a command twice. That does no harm, because each command names the
state to reach, or has an identifier that goes into the record.
"""

from __future__ import annotations

import getpass
import math
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.record.derivation import START
from sweeper.record.events import FORMAT
from sweeper.record.storage import confined
from sweeper.record.storage.layout import SweepDir, read_json, unwritable, write_json


class TrialCommand(StrEnum):
    """The commands that a person can give to a trial."""

    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    REVIVE = "revive"


class SweepCommand(StrEnum):
    """The commands that a person can give to a running sweep."""

    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForTrial:
    """A command to a trial: `by` is who gave it, a person or an agent, and `because` why; both may be empty."""

    do: TrialCommand
    number: int
    by: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForSweep:
    """A command to the orchestrator that wrote `to` into the run's lease; no later orchestrator carries it out."""

    do: SweepCommand
    to: str
    by: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFirst:
    """Launch these trials before all others, in this order."""

    numbers: tuple[int, ...]
    do: str = "first"
    by: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddConfiguration:
    """Add a configuration with these parameters to the sweep."""

    params: Mapping[str, object]
    do: str = "add"
    by: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveTrial:
    """Make a trial that continues trial `number` with changed parameters.

    `at` is the last step that it takes over: the newest checkpoint up to it counts. `START` stands for the start, and
    `NEWEST` for the newest checkpoint. `lr_factor` multiplies the learning rates that are restored. `request` tells
    commands apart, so that each is carried out once.
    """

    number: int
    changes: Mapping[str, object]
    at: int
    lr_factor: float = 1.0
    fresh_optimizer: bool = False
    by: str = ""
    because: str = ""
    request: str = ""
    do: str = "derive"


NEWEST = 2**62
"""The step of `DeriveTrial` that stands for the newest checkpoint."""

Command = ForTrial | ForSweep | LaunchFirst | AddConfiguration | DeriveTrial

_FOR_TRIALS, _FOR_SWEEPS = frozenset(TrialCommand), frozenset(SweepCommand)


def send(run: SweepDir, command: Command) -> None:
    """Leave a command in the inbox of a run. Commands are carried out in the order of their times.

    Raises:
        Unwritable: the disk is full or gone, or the inbox is not a folder of the run.
    """
    try:
        confined.make_folder(run.inbox, root=run.path)
    except OSError as error:
        raise unwritable(run.inbox, error) from error
    body = {name: value for name, value in asdict(command).items() if value != ""}
    name = f"{time.time_ns():020d}-{os.getpid()}.json"
    write_json(run.inbox / name, {**body, "format": FORMAT}, root=run.path)


def person() -> str:
    """Return the user that runs this process, and the host, for the record."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = f"user {os.getuid()}"
    return f"{name} on {socket.gethostname()}"


def received(run: SweepDir) -> Iterator[tuple[Path, Command | None]]:
    """Yield what is in the inbox, oldest first, each with its command; None where it is not a valid command.

    Raises:
        RecordError: the inbox is not a folder of the run, or cannot be read.
    """
    try:
        names = confined.listed(run.inbox, root=run.path)
    except OSError as error:
        raise RecordError(f"{run.inbox}: expected a folder of commands, got: {error.strerror}") from error
    for name in names:
        if name[0] == "." or not name.endswith(".json"):
            continue
        path = run.inbox / name
        try:
            body = read_json(path, root=run.path)
        except RecordError:
            yield path, None
        else:
            yield path, _command(body) if _can_be_recorded(body) else None


def _can_be_recorded(body: object) -> bool:
    """Return whether JSON may enter the record: no lone surrogates, NaN, infinities or integers beyond 64 bits."""
    values = [body]
    while values:
        match values.pop():
            case str(text) if any("\ud800" <= char <= "\udfff" for char in text):
                return False
            case int(number) if not -(2**63) <= number < 2**63:
                return False
            case float(number) if not math.isfinite(number):
                return False
            case list(items):
                values += items
            case dict(named):
                values += [*named, *named.values()]
    return True


def _command(body: Mapping[str, object]) -> Command | None:
    by, because = str(body.get("by") or ""), str(body.get("because") or "")
    match body:
        case {"do": str(word), "to": str(holder)} if word in _FOR_SWEEPS:
            return ForSweep(do=SweepCommand(word), to=holder, by=by, because=because)
        case {"do": str(word), "number": int(number)} if word in _FOR_TRIALS and not isinstance(number, bool):
            return ForTrial(do=TrialCommand(word), number=number, by=by, because=because)
        case {"do": "first", "numbers": [*given]}:
            numbers = tuple(number for number in given if isinstance(number, int))
            return LaunchFirst(numbers=numbers, by=by, because=because) if len(numbers) == len(given) else None
        case {"do": "add", "params": dict(params)}:
            return AddConfiguration(params=params, by=by, because=because)
        case {"do": "derive"}:
            return _derive(body)
    return None


def _derive(body: Mapping[str, object]) -> DeriveTrial | None:
    match body:
        case {"number": int(number), "changes": dict(changes), "at": int(at)}:
            factor, fresh = body.get("lr_factor", 1.0), body.get("fresh_optimizer", False)
            is_factor = isinstance(factor, int | float) and 0 < factor <= sys.float_info.max
            if not (is_factor and isinstance(fresh, bool) and START <= at <= NEWEST):
                return None
            texts = {name: str(body.get(name) or "") for name in ("by", "because", "request")}
            lr_factor = float(factor)  # type: ignore[arg-type]  # it is a number
            return DeriveTrial(
                number=number, changes=changes, at=at, lr_factor=lr_factor, fresh_optimizer=fresh, **texts
            )
    return None
