"""Find and open the files that a trial's script has written below the trial's directory."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from sweeper.record.storage.layout import TrialDir

MOST_FILES = 20_000
"""Maximum number of files below a trial's directory that are considered."""


def files_below(trial: TrialDir) -> list[str]:
    """Return the files of the script, as paths relative to the trial's directory, in order.

    Links are not followed: they may lead out of the directory, or to a file that is found under its own name too.
    Hidden files, which are still being written, and sweeper's own files are left out.
    """
    own = {trial.facts.name, trial.control.name}
    return [name for name in _walked(trial.path) if name not in own]


def _walked(root: Path) -> Iterator[str]:
    folders, left = [""], MOST_FILES
    while folders and left > 0:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError:  # removed meanwhile, or not readable
            continue
        for entry in entries:
            left -= 1
            name = f"{folder}{entry.name}"
            if entry.name.startswith(".") or name == "attempts":
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                elif entry.is_file(follow_symlinks=False) and left >= 0:
                    yield name
            except OSError:
                continue


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that match one of the patterns."""
    wanted = [_compiled(pattern) for pattern in patterns]
    return [name for name in names if any(one.fullmatch(name) for one in wanted)]


_SPECIAL = re.compile(r"\*\*/+|\*\*|\*|\?")
_MEANING = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of paths as a regular expression: `*` within a name, `**` over any number of folders."""
    parts, end = [], 0
    for match in _SPECIAL.finditer(pattern):
        parts += [re.escape(pattern[end : match.start()]), _MEANING.get(match[0], "(?:.*/)?")]
        end = match.end()
    return re.compile("".join([*parts, re.escape(pattern[end:])]), re.DOTALL)


def open_regular(path: Path) -> int:
    """Return a descriptor for reading a regular file.

    Raises:
        OSError: it is gone, not readable, or something else, such as a link or a pipe.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "it is not a regular file", str(path))
    return fd
