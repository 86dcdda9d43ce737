"""What Linux accepts as a command, and which failures of starting one pass by themselves. Pure functions."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

LONGEST_WORD = 131_071
"""Maximum length of an argument in bytes: MAX_ARG_STRLEN, 32 pages, with its final zero (execve(2))."""
QUOTED = 40
MOMENTARY = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
"""Errors of fork(2) and execve(2) that pass: too many processes, no memory, too many files, a program being written."""


def why_too_long(command: Sequence[str]) -> str:
    """Return why a command cannot be started on Linux whatever its program is; empty if it can."""
    longest = max(command, key=lambda word: len(os.fsencode(word)), default="")
    size = len(os.fsencode(longest))
    if size <= LONGEST_WORD:
        return ""
    return (
        f"the argument {longest[:QUOTED]}... has {size:,} bytes, and Linux accepts {LONGEST_WORD:,}; "
        "pass it in a file, as with ${args_json_file}"
    )


def why_not_started(command: Sequence[str], error: OSError) -> str:
    """Return in words why a command was not started."""
    if error.errno == errno.E2BIG:
        total = sum(len(os.fsencode(word)) + 1 for word in command)
        together = f"its arguments ({total:,} bytes) and its environment are longer than Linux accepts together"
        return why_too_long(command) or together
    return error.strerror or str(error)
