"""Claiming an attempt: exactly one process may run it, whoever starts how many.

The lease is taken before the claim is made, so that a claim without a lease means that its process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from sweeper.errors import AttemptClaimed, Unwritable
from sweeper.record.storage.layout import KEEPER, AttemptDir, unwritable
from sweeper.record.storage.lease import Lease, acquire

NODE = "SLURMD_NODENAME"


def claim(attempt: AttemptDir) -> Lease:
    """The lease of an attempt that nobody ran before, now claimed by this process.

    Raises:
        AttemptClaimed: somebody runs it, or has run it.
        Unwritable: its disk is full or gone.
    """
    try:
        attempt.path.mkdir(parents=True, exist_ok=True)
        lease = acquire(attempt.lease, holder=f"pid {os.getpid()} on {socket.gethostname()}\n")
    except OSError as error:
        raise unwritable(attempt.path, error) from error
    if lease is None:
        message = f"{attempt.path}: is running elsewhere; this start of it ends here"
        raise AttemptClaimed(message)
    try:
        staked = stake(attempt, {**process_identity(os.getpid()), **_node(os.environ)})
    except Unwritable:
        lease.release()
        raise
    if not staked:
        lease.release()
        message = f"{attempt.path}: was started before; an attempt runs once"
        raise AttemptClaimed(message)
    return lease


def stake(attempt: AttemptDir, owner: dict[str, object]) -> bool:
    """Make the claim in somebody's name; False where it was made before. An empty owner fences the attempt off.

    Raises:
        Unwritable: its disk is full or gone. A claim without a name may be left: nobody runs that attempt any more.
    """
    try:
        with attempt.claim.open("x") as file:
            json.dump(owner, file)
    except FileExistsError:
        return False
    except OSError as error:
        raise unwritable(attempt.claim, error) from error
    return True


def owner_of(attempt: AttemptDir) -> dict[str, object]:
    """Who claimed the attempt, empty where nobody did."""
    try:
        owner = json.loads(attempt.claim.read_bytes())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def node_of(attempt: AttemptDir) -> str:
    """The machine that the attempt ran on, by the name that its scheduler has for it; empty where nobody claimed it."""
    owner = owner_of(attempt)
    return str(owner.get("node") or owner.get("host") or "")


def is_process(owner: Mapping[str, object], pid: int) -> bool:
    """Whether the owner of a claim is the process that has this pid now."""
    identity = process_identity(pid)
    return bool(identity) and identity.items() <= owner.items()


def _node(environment: Mapping[str, str]) -> dict[str, object]:
    """How Slurm calls this machine, in a job of Slurm: not always by its host name."""
    return {"node": environment[NODE]} if environment.get(NODE) else {}


def keeper_of(environment: Mapping[str, str]) -> int | None:
    """A pidfd of the process that the attempt is not to outlive; None where there is no such process.

    Raises:
        AttemptClaimed: it is gone already.
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
    """The environment of a shim that is not to outlive a process."""
    return {KEEPER: f"{pid} {process_identity(pid)['start']}"}


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal, by proc(5); not where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next(line for line in lines if line.startswith("SigCgt:"))
        return bool(int(mask.split()[1], 16) >> (number - 1) & 1)
    except (OSError, ValueError, IndexError, StopIteration):
        return False


def process_identity(pid: int) -> dict[str, object]:
    """What tells a process from a later one with its pid: host, boot, start in clock ticks; empty if it has ended."""
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
