"""The arguments with which an attempt resumes: `resume_args` of a sweep file.

The orchestrator puts them into the command of every attempt after the first, as one word. The shim replaces the word by
the arguments if the checkpoint exists where the attempt runs, and writes `resume.json`, so that a reader knows how the
attempt began.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.record.events import FORMAT
from sweeper.record.storage.layout import AttemptDir, read_json, write_json
from sweeper.record.values.macros import NAMES, filled_text

PLACE = "${resume_args}"
"""The word of a command where the arguments are put. Without it, they are put at the end."""

_BEGIN, _END = "${resume_args:", "}"


def with_resume_args(command: Sequence[str], args: Sequence[str], path: str) -> list[str]:
    """Return the command of an attempt, with one word that the shim replaces by the arguments to resume.

    Args:
        command: the command of the trial.
        args: the arguments; none if the attempt must not resume.
        path: the path of the checkpoint, with macros and wildcards, as in `args`.
    """
    words = [_BEGIN + json.dumps([list(args), path]) + _END] if args else []
    if PLACE not in command:
        return [*command, *words]
    return [one for word in command for one in (words if word == PLACE else [word])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """How an attempt after the first began: `args` are the arguments to resume, empty if nothing was at `path`."""

    path: str
    args: tuple[str, ...] = ()

    def write(self, attempt: AttemptDir) -> None:
        """Write it to the directory of the attempt.

        Raises:
            Unwritable: the disk is full or gone.
        """
        write_json(attempt.resumption, {**asdict(self), "format": FORMAT}, sync=False)

    @classmethod
    def read(cls, attempt: AttemptDir) -> Resumption | None:
        """Return how the attempt began; None if it had no arguments to resume.

        Raises:
            RecordError: the file is damaged.
        """
        if not attempt.resumption.exists():
            return None
        value = read_json(attempt.resumption)
        path, args = value.get("path"), value.get("args")
        if not isinstance(path, str) or not isinstance(args, list) or not all(isinstance(one, str) for one in args):
            raise RecordError(f"{attempt.resumption}: expected a path and arguments, got {str(value)[:80]}")
        return cls(path=path, args=tuple(args))


def is_resumption(word: str) -> bool:
    """Return whether `with_resume_args` made this word of a command."""
    return _parsed(word) is not None


def resumption_of(word: str, values: Mapping[str, str], variables: Mapping[str, str]) -> Resumption:
    """Return how an attempt begins by the word of its command that `with_resume_args` made; see `resumption`.

    Raises:
        ValueError: it is another word.
    """
    if (parsed := _parsed(word)) is None:
        raise ValueError(word)
    return resumption(*parsed, values, variables)


def _parsed(word: str) -> tuple[list[str], str] | None:
    """Return the arguments and the path in a word; None for any other word, even one that a user wrote like it."""
    if not (word.startswith(_BEGIN) and word.endswith(_END)):
        return None
    try:
        args, path = json.loads(word[len(_BEGIN) : -len(_END)])
    except (ValueError, TypeError):
        return None
    is_text = isinstance(path, str) and isinstance(args, list) and all(isinstance(one, str) for one in args)
    return (args, path) if is_text else None


def resumption(
    args: Sequence[str], path: str, values: Mapping[str, str], variables: Mapping[str, str] | None = None
) -> Resumption:
    """Return the arguments to resume from the newest checkpoint at `path`; no arguments if there is none.

    A file without content and an empty directory are no checkpoint: an attempt that was killed may have left them.

    Args:
        args: the arguments; the text of `path` in them becomes the path that was found.
        path: the path of the checkpoint, with macros of the trial. `*`, `?` and `[]` are wildcards.
        values: the values of the trial's macros.
        variables: the values of further macros by their text, which the path may contain and no record may.
    """
    pattern, shown = path, filled_text(path, values)
    for name, value in (variables or {}).items():
        pattern = pattern.replace(name, glob.escape(value))
    pattern = filled_text(pattern, {name: glob.escape(values[name]) for name in NAMES})
    found = [one for one in glob.glob(pattern) if _has_content(one)]  # noqa: PTH207 - an absolute pattern
    if not found:
        return Resumption(path=shown)
    newest = max(found, key=_age)
    for name, value in (variables or {}).items():
        newest = newest.replace(value, name) if value else newest
    found_at = newest if glob.has_magic(path) else path
    return Resumption(path=shown, args=tuple(filled_text(one.replace(path, found_at), values) for one in args))


def _has_content(path: str) -> bool:
    try:
        return bool(os.listdir(path)) if Path(path).is_dir() else Path(path).stat().st_size > 0  # noqa: PTH208
    except OSError:
        return False


def _age(path: str) -> tuple[float, list[tuple[int, str]]]:
    """Return a key by which the newest path is the last: by time, then by the numbers in its name."""
    try:
        changed = Path(path).stat().st_mtime
    except OSError:
        changed = 0.0
    parts = re.findall(r"\d+|\D+", Path(path).name)
    return changed, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
