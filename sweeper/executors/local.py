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
from sweeper.executors.gpus.lost import Health, health_of
from sweeper.executors.preload import Forked, Preloaded
from sweeper.executors.processes import kill_marked, marked, parent_and_session
from sweeper.executors.slots.division import threads_of
from sweeper.executors.slots.packing import Packing
from sweeper.executors.slots.reservations import Reservations
from sweeper.record.storage.claim import catches, is_process, owner_of, process_identity, stake
from sweeper.record.storage.layout import AttemptDir, TrialDir
from sweeper.record.storage.lease import is_held

ORPHAN_GRACE_S = 60.0
"""How long a worker whose shim was killed may take to save a checkpoint and end."""


class LocalExecutor:
    """Runs attempts on this machine."""

    def __init__(
        self,
        slots: Sequence[Slot],
        health: Health | None = None,
        *,
        preload: bool = False,
        reservations: Reservations | None = None,
        packing: Packing | None = None,
    ) -> None:
        """By default the library says which of the slots' devices are lost, and slots are shared with nobody.

        Args:
            preload: fork attempts from a process that has imported what they import, as soon as there is one.
            packing: how the slots become others once it is measured what a trial takes.
        """
        self._slots = tuple(slots)
        self._preload = preload
        self._preloaded: Preloaded | None = None
        self._reservations = reservations or Reservations(None, None, time.monotonic)
        self._packing = packing
        self._health = health or health_of(sorted({device for slot in slots for device in slot.devices}))
        self._shims: dict[Path, subprocess.Popen[bytes] | Forked] = {}
        self._orphans: dict[Path, tuple[float, set[int]]] = {}

    def slots(self) -> Sequence[Slot]:
        """All slots; others than before, where it was measured meanwhile how much a trial takes."""
        if self._packing is not None:
            self._slots = tuple(self._packing.slots())
        return self._slots

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:
        """Whether nobody else has the slot, by the machine's ledger and the devices' own word."""
        directory = trial.attempt(attempt)
        reserved = self._reservations.reserve(directory, slot)
        if reserved and self._packing is not None:
            self._packing.watch(directory, slot)
        return reserved

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:
        """What was measured of the attempt, where it had a device to itself and trials are packed by that."""
        return None if self._packing is None else self._packing.peak_mb(attempt)

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
                [
                    sys.executable,
                    "-m",
                    "sweeper.worker.process.shim",
                    str(trial.path.absolute()),
                    str(attempt),
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        if self._preload and self._preloaded is None:
            # After the first trials, which would only wait for it: they import for themselves meanwhile.
            self._preloaded = Preloaded(command, {**os.environ, **threads_of(1)})

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
            slot.name: [f"the device {device} is lost ({lost[device]})" for device in slot.devices if device in lost]
            for slot in self._slots
        }
        return {name: ", ".join(texts) for name, texts in told.items() if texts}

    def avoid(self, node: str) -> bool:  # noqa: ARG002 - it is the only one
        """There is no other machine."""
        return False

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
        """Why attempts are not forked from a preloaded process, though they should be; and who else has the slots."""
        trouble = "" if self._preloaded is None else self._preloaded.trouble
        plainly = [f"trials are started plainly, not preloaded: {trouble}"] if trouble else []
        packed = [] if self._packing is None else self._packing.notes
        return [*plainly, *packed, *self._reservations.notes]

    def ends(self) -> Sequence[Forked]:
        """Shims that are no children of ours, so that no signal tells of their end: readable once one has ended."""
        return [shim for shim in self._shims.values() if isinstance(shim, Forked) and shim.poll() is None]

    def close(self) -> None:
        """Fork no more. What runs goes on, and keeps what it has of the machine."""
        self._reservations.close()
        if self._preloaded is not None:
            self._preloaded.close()

    def _gone_shim(self, attempt: AttemptDir) -> int | None:
        """The pid that the attempt's shim had, where it is known to be gone."""
        owner = owner_of(attempt)
        pid, here = owner.get("pid"), process_identity(os.getpid())
        if not isinstance(pid, int) or any(owner.get(key) != here.get(key) for key in ("host", "boot")):
            return None
        return None if is_process(owner, pid) else pid

    def _end_orphans(self, attempt: AttemptDir, session: int) -> None:
        """SIGTERM to the worker, once; SIGKILL to all that is left when it has ended, or after the grace."""
        left = {pid: parent_and_session(pid) for pid in marked(attempt)}
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
        if not is_process(owner, pid):
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
