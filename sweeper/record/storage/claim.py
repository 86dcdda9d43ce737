"""Claims of attempts: exactly one process may run an attempt, however often it is started.

The lease is taken before the claim is made, so a claim without a held lease means that its process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from sweeper.errors import AttemptClaimed, Unwritable
from sweeper.record.events import FORMAT
from sweeper.record.storage import confined
from sweeper.record.storage.checksums import sealed, unsealed
from sweeper.record.storage.layout import KEEPER, AttemptDir, unwritable
from sweeper.record.storage.lease import Lease, acquire

NODE = "SLURMD_NODENAME"


def claim(attempt: AttemptDir) -> Lease:
    """Claim an attempt that never ran for this process, and return its lease.

    Raises:
        AttemptClaimed: another process runs the attempt or has run it.
        Unwritable: the disk is full or gone.
    """
    try:
        confined.make_folder(attempt.path)
        lease = acquire(attempt.lease, holder=f"pid {os.getpid()} on {socket.gethostname()}\n")
    except OSError as error:
        raise unwritable(attempt.path, error) from error
    if lease is None:
        message = f"{attempt.path}: is running elsewhere; this start of it ends here"
        raise AttemptClaimed(message)
    try:
        claimed = make_claim(attempt, {**process_identity(os.getpid()), **_node(os.environ)})
    except Unwritable:
        lease.release()
        raise
    if not claimed:
        lease.release()
        message = f"{attempt.path}: was started before; an attempt runs once"
        raise AttemptClaimed(message)
    return lease


def make_claim(attempt: AttemptDir, owner: dict[str, object]) -> bool:
    """Write the claim of an owner; return False where there is one already. An empty owner blocks the attempt for good.

    Raises:
        Unwritable: the disk is full or gone. An empty claim may be left, with which the attempt is never run.
    """
    try:
        with os.fdopen(confined.open_file(attempt.claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(sealed(json.dumps({**owner, "format": FORMAT}).encode()) if owner else b"{}")
    except FileExistsError:
        return False
    except OSError as error:
        raise unwritable(attempt.claim, error) from error
    return True


def owner_of(attempt: AttemptDir) -> dict[str, object]:
    """Return the identity of the process that claimed the attempt; empty where there is no claim, or a damaged one."""
    try:
        return unsealed(confined.read_bytes(attempt.claim))
    except (OSError, ValueError, RecursionError):
        return {}


def node_of(attempt: AttemptDir) -> str:
    """Return the machine that the attempt ran on, by its name in the scheduler; empty where there is no claim."""
    owner = owner_of(attempt)
    return str(owner.get("node") or owner.get("host") or "")


def is_process(owner: Mapping[str, object], pid: int) -> bool:
    """Whether the owner of a claim is the process that has this pid now."""
    identity = process_identity(pid)
    return bool(identity) and identity.items() <= owner.items()


def _node(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the name of this machine in Slurm, in a Slurm job; it may differ from the host name."""
    return {"node": environment[NODE]} if environment.get(NODE) else {}


def keeper_of(environment: Mapping[str, str]) -> int | None:
    """Return a pidfd of the process that the attempt must not outlive; None where there is no such process.

    Raises:
        AttemptClaimed: that process is gone already.
    """
    if not environment.get(KEEPER):
        return None
    pid, start = map(int, environment[KEEPER].split())
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        if process_identity(pid).get("start") == start:
            return fd
        os.close(fd)
    raise AttemptClaimed(f"the process {pid}, which started this attempt, is gone; it ends here")


def keeper(pid: int) -> dict[str, str]:
    """Return the environment of a shim that must not outlive a process."""
    return {KEEPER: f"{pid} {process_identity(pid)['start']}"}


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal, by proc(5); False where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next(line for line in lines if line.startswith("SigCgt:"))
        return bool(int(mask.split()[1], 16) >> (number - 1) & 1)
    except (OSError, ValueError, IndexError, StopIteration):
        return False


def process_identity(pid: int) -> dict[str, object]:
    """Return what distinguishes a process from a later one with its pid: host, boot, start in clock ticks.

    Empty if the process has ended.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Fields 3 and 22 of proc(5) stat; the command in field 2 may hold anything, hence the last parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        state, start = fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return {}
    if state in "ZX":
        return {}
    return {"pid": pid, "start": start, "boot": boot, "host": socket.gethostname()}
