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
from sweeper.executors.health import Health, health_of
from sweeper.executors.preload import Forked, Preloaded
from sweeper.record.claim import catches, owner_of, process_identity, stake
from sweeper.record.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir
from sweeper.record.lease import is_held

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

ORPHAN_GRACE_S = 60.0
"""How long a worker whose shim was killed may take to save a checkpoint and end."""

WHOLE_MACHINE = Slot(name="the whole machine")
"""The slot of a trial that runs alone: every device and core that the caller has, with the caller's own settings."""


class LocalExecutor:
    """Runs attempts on this machine."""

    def __init__(self, slots: Sequence[Slot], health: Health | None = None, *, preload: bool = False) -> None:
        """By default the health of the slots' devices is the management library's word.

        Args:
            preload: fork attempts from a process that has imported what they import, as soon as there is one.
        """
        self._slots = tuple(slots)
        self._preload = preload
        self._preloaded: Preloaded | None = None
        self._health = health or health_of([device for slot in slots for device in _devices(slot)])
        self._shims: dict[Path, subprocess.Popen[bytes] | Forked] = {}
        self._orphans: dict[Path, tuple[float, set[int]]] = {}

    def slots(self) -> Sequence[Slot]:
        """All slots."""
        return self._slots

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Start the shim of an attempt."""
        directory = trial.attempt(attempt)
        directory.path.mkdir(parents=True, exist_ok=True)
        # Those that ended are reaped here, and known by their record from then on.
        self._shims = {path: shim for path, shim in self._shims.items() if shim.poll() is None}
        environment = {"PYTHONUNBUFFERED": "1", **slot.environment}
        with directory.output.open("ab") as output:
            forked = None
            if self._preloaded is not None and self._preloaded.serves:
                forked = self._preloaded.fork(trial.path.absolute(), attempt, command, environment, output.fileno())
            self._shims[directory.path] = forked or subprocess.Popen(
                [sys.executable, "-m", "sweeper.worker.shim", str(trial.path.absolute()), str(attempt), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        if self._preload and self._preloaded is None:
            # After the first trials, which would only wait for it: they import for themselves meanwhile.
            self._preloaded = Preloaded(command, {**os.environ, **_threads(1)})

    def stop(self, attempt: AttemptDir) -> None:
        """SIGTERM to the shim, which hands it to the worker."""
        self._signal_shim(attempt, signal.SIGTERM)

    def kill(self, attempt: AttemptDir) -> None:
        """SIGQUIT to the shim, which kills; where the shim is gone, SIGKILL to all that it left."""
        if not self._signal_shim(attempt, signal.SIGQUIT):
            kill_marked(attempt)

    def dump(self, attempt: AttemptDir) -> None:
        """SIGUSR1 to the shim, which hands it to those that catch it; not to a shim that does not."""
        shim = self._shims.get(attempt.path)
        pid = shim.pid if shim is not None else owner_of(attempt).get("pid")
        if isinstance(pid, int) and catches(pid, signal.SIGUSR1):
            self._signal_shim(attempt, signal.SIGUSR1)

    def faults(self) -> Mapping[str, str]:
        """Slots of which a device is lost."""
        lost = self._health.faults()
        told = {
            slot.name: [f"the device {device} is lost ({lost[device]})" for device in _devices(slot) if device in lost]
            for slot in self._slots
        }
        return {name: ", ".join(texts) for name, texts in told.items() if texts}

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

    def troubles(self) -> Sequence[str]:
        """Why attempts are not forked from a preloaded process, though they should be."""
        trouble = "" if self._preloaded is None else self._preloaded.trouble
        return [f"trials are started plainly, not preloaded: {trouble}"] if trouble else []

    def ends(self) -> Sequence[Forked]:
        """Shims that are no children of ours, so that no signal tells of their end: readable once one has ended."""
        return [shim for shim in self._shims.values() if isinstance(shim, Forked) and shim.poll() is None]

    def close(self) -> None:
        """Fork no more. What runs goes on."""
        if self._preloaded is not None:
            self._preloaded.close()

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
        cpus: cores a slot wants, and threads that it gets; by default the cores are shared out.
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
    threads = max(1, min(cpus or cores // count, cores))
    return [Slot(name=f"cpu {i}", environment=_threads(threads) | hidden) for i in range(count)]


def marked(attempt: AttemptDir) -> set[int]:
    """Every process of the attempt: its environment names it (the mark that the shim sets), or it holds the lease.

    The environment of a forked worker is that of the process it was forked from; what it starts is marked again.
    """
    marks = {f"{TRIAL_DIR}={attempt.path.parent.parent.absolute()}".encode(), f"{ATTEMPT}={attempt.number}".encode()}
    lease = attempt.lease.absolute().resolve()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marks <= set((process / "environ").read_bytes().split(b"\0")) or _holds(process, lease):
                found.add(int(process.name))
    return found


def _holds(process: Path, lease: Path) -> bool:
    """Whether a process has the lease open to hold it: who only asks whether it is held opens it to read."""
    for fd in (process / "fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if fd.readlink() == lease:
                flags = (process / "fdinfo" / fd.name).read_text().partition("flags:")[2].split()[0]
                if int(flags, 8) & os.O_ACCMODE == os.O_RDWR:
                    return True
    return False


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


def _devices(slot: Slot) -> list[str]:
    return [device for device in slot.environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]


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
