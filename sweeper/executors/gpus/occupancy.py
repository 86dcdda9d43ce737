"""Who is on a device that does not belong there: a GPU is handed on when its process list and memory say it is free.

What the library lists are processes of the whole machine. In a container some may be missing, or be named by numbers
that mean others here, or nobody: then memory that nobody is seen to use still says that somebody is there.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.executors.gpus.nvml import Memory, Nvml, Process
from sweeper.executors.processes import PROC, is_of
from sweeper.mistakes import printable
from sweeper.record.storage.layout import AttemptDir

UNSEEN_FROM = 300e6
"""Bytes. Less than a CUDA context takes is no process; some is used on a device where nobody is."""

FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""The inode of /proc/self/ns/pid outside of containers (PROC_PID_INIT_INO of the kernel)."""

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A process on a device that is none of its attempts'; `pid` is None where only its memory shows."""

    pid: int | None
    memory: int | None

    def text(self) -> str:
        """Who it is and what it has, for people."""
        has = "" if self.memory is None else f", {self.memory / GB:.1f} GB"
        if self.pid is None:
            return f"somebody who cannot be seen from here{has}"
        who = _described(self.pid)
        return f"pid {self.pid}{f' ({who})' if who else ''}{has}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the library said of a device, at one moment."""

    processes: Sequence[Process]
    memory: Memory | None


def look(device: str, nvml: Nvml) -> Seen | None:
    """What is on a device now; None where that cannot be known."""
    processes = nvml.processes(device)
    return None if processes is None else Seen(processes=processes, memory=nvml.memory(device))


def strangers(seen: Seen | None, attempts: Sequence[AttemptDir]) -> list[Stranger]:
    """Who was on a device without being one of the attempts that have it; nobody where nothing is known."""
    if seen is None:
        return []
    there, memory = seen.processes, seen.memory
    found = [
        Stranger(pid=one.pid, memory=one.memory) for one in there if not one.draws and _is_other(one.pid, attempts)
    ]
    if attempts or found or memory is None or any(one.memory is None for one in there):
        return found
    unseen = memory.used - sum(one.memory or 0 for one in there)
    return [Stranger(pid=None, memory=unseen)] if unseen > UNSEEN_FROM else []


def pids_are_ours() -> bool:
    """Whether the library's process numbers mean here what they mean to it: not in a container with its own."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == FIRST_PID_NAMESPACE
    except OSError:
        return True


def _is_other(pid: int, attempts: Sequence[AttemptDir]) -> bool:
    if any(is_of(pid, attempt) for attempt in attempts):
        return False
    # By a number of another namespace nobody can be told from the attempts that are there.
    return not attempts or (pids_are_ours() and (PROC / str(pid)).exists())


def _described(pid: int) -> str:
    """User and name of a process, as far as they are known here."""
    process = PROC / str(pid)
    if not pids_are_ours():
        return "by its number outside of this container"
    try:
        uid = process.stat().st_uid
        name = printable((process / "comm").read_text().strip())
    except OSError:
        return "not seen from here"
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user {uid}"
    return f"{'you' if uid == os.geteuid() else user}: {name}"
