"""The local executor: one shim a trial, each in a session of its own, on GPU slots or on CPU slots."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.record.claim import owner_of, process_identity, stake
from sweeper.record.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir
from sweeper.record.lease import is_held

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

ORPHAN_GRACE_S = 60.0
"""How long a worker whose shim was killed may take to save a checkpoint and end."""

WHOLE_MACHINE = Slot(name="the whole machine")
"""The slot of a trial that runs alone: every device and core that the caller has, with the caller's own settings."""


class LocalExecutor:
    """Runs attempts on this machine."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = tuple(slots)
        self._shims: dict[Path, subprocess.Popen[bytes]] = {}
        self._orphans: dict[Path, tuple[float, set[int]]] = {}

    def slots(self) -> Sequence[Slot]:
        """All slots."""
        return self._slots

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Start the shim of an attempt."""
        directory = trial.attempt(attempt)
        directory.path.mkdir(parents=True, exist_ok=True)
        with directory.output.open("ab") as output:
            self._shims[directory.path] = subprocess.Popen(
                [sys.executable, "-m", "sweeper.worker.shim", str(trial.path.absolute()), str(attempt), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **slot.environment},
                start_new_session=True,
            )

    def stop(self, attempt: AttemptDir) -> None:
        """SIGTERM to the shim, which hands it to the worker."""
        self._signal_shim(attempt, signal.SIGTERM)

    def kill(self, attempt: AttemptDir) -> None:
        """SIGQUIT to the shim, which kills; where the shim is gone, SIGKILL to all that it left."""
        if not self._signal_shim(attempt, signal.SIGQUIT):
            kill_marked(attempt)

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Whether the shim runs, or anybody holds the lease.

        An attempt that was launched and never claimed, by an orchestrator that is gone, is fenced off here: a shim
        that comes late finds the claim made and ends. What is left of an attempt without its shim is ended here, too:
        nobody would hand it a stop, reap it, or write how it ended.
        """
        shim = self._shims.get(attempt.path)
        if shim is not None and shim.poll() is None:
            return True
        if shim is None and attempt.path.is_dir() and not is_held(attempt.lease) and stake(attempt, {}):
            return False
        if not is_held(attempt.lease):
            return False
        if (pid := self._gone_shim(attempt)) is not None:
            self._end_orphans(attempt, pid)
        return True

    def fetch(self, trial: TrialDir) -> None:
        """The record is on this disk already."""

    def _gone_shim(self, attempt: AttemptDir) -> int | None:
        """The pid that the attempt's shim had, where it is known to be gone."""
        owner = owner_of(attempt)
        pid, here = owner.get("pid"), process_identity(os.getpid())
        if not isinstance(pid, int) or any(owner.get(key) != here.get(key) for key in ("host", "boot")):
            return None
        return pid if process_identity(pid) != owner else None

    def _end_orphans(self, attempt: AttemptDir, session: int) -> None:
        """SIGTERM to the worker, once; SIGKILL to all that is left when it has ended, or after the grace."""
        left = {pid: _parent_and_session(pid) for pid in marked(attempt)}
        if attempt.path not in self._orphans:
            workers = {pid for pid, (parent, own) in left.items() if own == session and parent not in left}
            self._orphans[attempt.path] = time.monotonic() + ORPHAN_GRACE_S, workers
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        until, workers = self._orphans[attempt.path]
        if not workers & left.keys() or time.monotonic() > until:
            kill_marked(attempt)

    def _signal_shim(self, attempt: AttemptDir, number: signal.Signals) -> bool:
        """A signal to the attempt's shim; False where it is gone. Nobody else's process is ever signalled."""
        shim = self._shims.get(attempt.path)
        if shim is not None:
            shim.send_signal(number)  # ours to reap, so the pid is still its own
            return shim.poll() is None
        return _signal_owner(owner_of(attempt), number)


def local_slots(
    *, devices: Sequence[str], cores: int, workers: int | None, gpus: int | None, cpus: int | None
) -> list[Slot]:
    """The slots of this machine.

    Args:
        devices: CUDA devices; with any, a slot has `gpus` of them (1), unless `gpus` is 0.
        cores: processor cores, divided among the slots as threads.
        workers: how many slots at most; by default as many as fit.
        cpus: cores a slot wants; by default 1 on the CPU.
    """
    share = 1 if gpus is None else gpus
    if devices and share:
        groups = [devices[i : i + share] for i in range(0, len(devices) - share + 1, share)][:workers]
        threads = cpus or max(1, cores // max(1, len(groups)))
        return [
            Slot(
                name="gpu " + "+".join(str(devices.index(device)) for device in group),
                environment=_threads(threads) | {"CUDA_VISIBLE_DEVICES": ",".join(group)},
            )
            for group in groups
        ]
    count = workers or max(1, cores // (cpus or 1))
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if devices else {}
    return [Slot(name=f"cpu {i}", environment=_threads(max(1, cores // count)) | hidden) for i in range(count)]


def marked(attempt: AttemptDir) -> set[int]:
    """Every process whose environment names this attempt (the mark that the shim sets)."""
    marks = {f"{TRIAL_DIR}={attempt.path.parent.parent.absolute()}".encode(), f"{ATTEMPT}={attempt.number}".encode()}
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if marks <= set(environ.read_bytes().split(b"\0")):
                found.add(int(environ.parent.name))
    return found


def kill_marked(attempt: AttemptDir) -> None:
    """SIGKILL every process of the attempt, those too that are started meanwhile."""
    killed: set[int] = set()
    while new := marked(attempt) - killed:
        for pid in new:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= new


def _parent_and_session(pid: int) -> tuple[int, int]:
    """Of a process; -1 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1, -1
    return int(fields[1]), int(fields[3])


def _threads(count: int) -> dict[str, str]:
    return dict.fromkeys(THREAD_VARIABLES, str(count)) | {"TOKENIZERS_PARALLELISM": "false"}


def _signal_owner(owner: Mapping[str, object], number: signal.Signals) -> bool:
    """A signal to the process that made a claim, if it is still that process (pidfd_open(2) closes the race)."""
    pid = owner.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if process_identity(pid) != owner:
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
