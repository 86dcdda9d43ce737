"""Processes that use a device without belonging to an attempt that has it: a device with any of them is not free.

The management library lists the processes of the whole machine. In a container some may be missing from its list, and
its process ids may belong to no process, or to another one, in the container's PID namespace. Memory that no listed
process uses is therefore counted as an unseen process.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.executors.gpus.nvml import DeviceMemory, DeviceProcess, Nvml
from sweeper.executors.processes import PROC, is_of
from sweeper.mistakes import printable
from sweeper.record.storage.layout import AttemptDir

UNSEEN_FROM = 300e6
"""Bytes. A CUDA context takes more than this; less can be in use on a device without any process."""

FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""The inode of /proc/self/ns/pid outside of containers (PROC_PID_INIT_INO in the kernel)."""

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherProcess:
    """A process on a device that belongs to none of the attempts that have it.

    Attributes:
        pid: The process id as the library reports it; None if only its memory was seen.
        memory: Device memory in bytes; None if the library does not report it.
    """

    pid: int | None
    memory: int | None

    def text(self) -> str:
        """Describe the process and its memory for users."""
        memory = "" if self.memory is None else f", {self.memory / GB:.1f} GB"
        if self.pid is None:
            return f"a process that is not visible from here{memory}"
        description = _described(self.pid)
        return f"pid {self.pid}{f' ({description})' if description else ''}{memory}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUsage:
    """The processes and the memory of a device, as the library reported them at one moment."""

    processes: Sequence[DeviceProcess]
    memory: DeviceMemory | None


def usage_of(device: str, nvml: Nvml) -> DeviceUsage | None:
    """Return the current usage of a device; None if the library cannot report it."""
    processes = nvml.processes(device)
    return None if processes is None else DeviceUsage(processes=processes, memory=nvml.memory(device))


def other_processes(usage: DeviceUsage | None, attempts: Sequence[AttemptDir]) -> list[OtherProcess]:
    """Return the processes on a device that belong to none of the attempts that have it.

    Processes that only use graphics are ignored. If the usage is not known (None), the list is empty.
    """
    if usage is None:
        return []
    processes, memory = usage.processes, usage.memory
    found = [
        OtherProcess(pid=process.pid, memory=process.memory)
        for process in processes
        if not process.graphics_only and _is_other(process.pid, attempts)
    ]
    if attempts or found or memory is None or any(process.memory is None for process in processes):
        return found
    unseen = memory.used - sum(process.memory or 0 for process in processes)
    return [OtherProcess(pid=None, memory=unseen)] if unseen > UNSEEN_FROM else []


def pids_are_ours() -> bool:
    """Return whether this process shares the library's PID namespace; a container usually has its own."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == FIRST_PID_NAMESPACE
    except OSError:
        return True


def _is_other(pid: int, attempts: Sequence[AttemptDir]) -> bool:
    if any(is_of(pid, attempt) for attempt in attempts):
        return False
    # A pid of another namespace cannot be distinguished from those of the attempts on the device.
    return not attempts or (pids_are_ours() and (PROC / str(pid)).exists())


def _described(pid: int) -> str:
    """Return the user and the name of a process, as far as they are known here."""
    process = PROC / str(pid)
    if not pids_are_ours():
        return "its pid outside of this container"
    try:
        uid = process.stat().st_uid
        name = printable((process / "comm").read_text().strip())
    except OSError:
        return "not visible from here"
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user {uid}"
    return f"{'you' if uid == os.geteuid() else user}: {name}"
