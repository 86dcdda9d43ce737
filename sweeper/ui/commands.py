"""Commands from a page: what it sends is checked here, and handed to the commands of the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeper.errors import SpecError, UsageError
from sweeper.record.derivation import START
from sweeper.record.storage.inbox import person
from sweeper.service import commands
from sweeper.service.answers.machine import Sent
from sweeper.service.open_run import OpenRun

NAMES = ("stop", "pause", "resume", "revive", "exempt", "first", "add", "derive")
COMMAND_LINE = "command line: "
"""How the place of a mistake in the value of a parameter begins."""
LONGEST = 1000
"""Maximum number of characters of a name or a reason."""


def carried_out(run: OpenRun, given: object) -> Sent:
    """Send the command that a page asks for.

    Args:
        run: the run.
        given: the JSON of the request: `command`, and `numbers`, `params`, `at`, `fresh_optimizer`, `by` and `because`
            where they apply.

    Raises:
        UsageError: it is no valid command.
        Unwritable: the disk is full or gone.
    """
    if not isinstance(given, Mapping):
        raise UsageError("expected a JSON object with `command`")
    name, numbers = given.get("command"), _numbers(given.get("numbers", []))
    by = _text(given, "by") or person()
    about = {"by": f"{by} (page)", "because": _text(given, "because")}
    try:
        sent = _sent(run, str(name), numbers, given, about)
    except SpecError as error:  # a page has fields, and no command line
        raise SpecError([replace(one, where=one.where.removeprefix(COMMAND_LINE)) for one in error.mistakes]) from error
    if numbers:
        run.look_at(numbers)
    return sent


def _sent(run: OpenRun, name: str, numbers: Sequence[int], given: Mapping[str, Any], about: Mapping[str, str]) -> Sent:
    directory = run.directory
    match name:
        case "stop":
            return commands.stop(directory, numbers, **about)
        case "pause":
            return commands.pause(directory, numbers, **about)
        case "resume":
            return commands.resume(directory, numbers, **about)
        case "first":
            return commands.first(directory, numbers, **about)
        case "add":
            return commands.add(directory, _params(given.get("params")), **about)
        case "derive":
            at, fresh = given.get("at"), given.get("fresh_optimizer", False)
            if not (at is None or (type(at) is int and at >= START)) or not isinstance(fresh, bool):
                raise UsageError(f"derive: expected at as a step or {START}, and fresh_optimizer as true or false")
            changes = _params(given.get("params", {}))
            return commands.derive(directory, _one(name, numbers), changes, at=at, fresh_optimizer=fresh, **about)
        case "revive" | "exempt":
            _one(name, numbers)
            return getattr(commands, name)(directory, numbers[0], **about)  # type: ignore[no-any-return]
    raise UsageError(f"command: expected one of {', '.join(NAMES)}, got {name[:40]!r}")


def _one(name: str, numbers: Sequence[int]) -> int:
    if len(numbers) != 1:
        raise UsageError(f"{name}: expected the number of one trial, got {len(numbers)}")
    return numbers[0]


def _params(given: object) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise UsageError("params: expected a value for each parameter")
    return {str(key): value for key, value in given.items()}


def _numbers(given: object) -> list[int]:
    if not isinstance(given, list) or not all(type(number) is int and number >= 0 for number in given):
        raise UsageError("numbers: expected a list of numbers of trials")
    return given


def _text(given: Mapping[str, Any], key: str) -> str:
    text = given.get(key, "")
    if not isinstance(text, str) or len(text) > LONGEST:
        raise UsageError(f"{key}: expected a text of at most {LONGEST} characters")
    return text.strip()
