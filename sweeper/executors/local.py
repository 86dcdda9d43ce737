"""The local executor: runs each attempt under a shim in a session of its own, on GPU or CPU slots of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeper.errors import Unwritable
from sweeper.executors.executor import Blocker, Slot
from sweeper.executors.gpus.lost import LostDevices, lost_devices
from sweeper.executors.postponed import PostponedStarts
from sweeper.executors.preload import ForkedShim, PreloadServer
from sweeper.executors.processes import kill_marked, marked, parent_and_session
from sweeper.executors.python import run_shim
from sweeper.executors.slots.division import threads_of
from sweeper.executors.slots.packing import Packing
from sweeper.executors.slots.reservations import Reservations
from sweeper.record.signals import blocked
from sweeper.record.storage import confined
from sweeper.record.storage.claim import catches, is_process, make_claim, owner_of, process_identity
from sweeper.record.storage.layout import AttemptDir, TrialDir
from sweeper.record.storage.lease import is_held

ORPHAN_GRACE_S = 60.0
"""How long a worker may take to save a checkpoint and end after its shim was killed."""


class LocalExecutor:
    """Runs attempts on this machine."""

    def __init__(
        self,
        slots: Sequence[Slot],
        lost: LostDevices | None = None,
        *,
        preload: bool = False,
        reservations: Reservations | None = None,
        packing: Packing | None = None,
    ) -> None:
        """Use the given slots.

        Args:
            slots: All slots.
            lost: Detects lost devices; by default the management library is asked about the devices of the slots.
            preload: Fork attempts from a process that has already imported what they import, once it is ready.
            reservations: Reserves slots; by default the slots are not shared, so that each is reserved at once.
            packing: Changes the slots once the memory of a trial was measured.
        """
        self._slots = tuple(slots)
        self._preload = preload
        self._preloaded: PreloadServer | None = None
        self._reservations = reservations or Reservations(None, None, time.monotonic)
        self._packing = packing
        self._lost = lost or lost_devices(sorted({device for slot in slots for device in slot.devices}))
        self._postponed = PostponedStarts()
        self._shims: dict[Path, subprocess.Popen[bytes] | ForkedShim] = {}
        self._orphans: dict[Path, tuple[float, set[int]]] = {}

    def slots(self) -> Sequence[Slot]:
        """Return all slots. They change once the memory of a trial was measured."""
        if self._packing is not None:
            self._slots = tuple(self._packing.slots())
        return self._slots

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:
        """Reserve a slot, unless another attempt has it in the slot ledger or another process uses its devices."""
        directory = trial.attempt(attempt)
        reserved = self._reservations.reserve(directory, slot)
        if reserved and self._packing is not None:
            self._packing.watch(directory, slot)
        return reserved

    def device_peak_mb(self, attempt: AttemptDir) -> float | None:
        """Return the peak device memory of the attempt in MiB; None unless trials are packed by measured memory."""
        return None if self._packing is None else self._packing.peak_mb(attempt)

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        """Start the shim of an attempt. If the system refuses that for the moment, it is tried again."""
        self._postponed.start(trial.attempt(attempt), lambda: self._launch(trial, attempt, command, slot))

    def _launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        directory = trial.attempt(attempt)
        confined.make_folder(directory.path)
        # Shims that ended are reaped here. From then on their record says how they ended.
        self._shims = {path: shim for path, shim in self._shims.items() if shim.poll() is None}
        environment = {"PYTHONUNBUFFERED": "1", **slot.environment}
        append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(confined.open_file(directory.output, append), "ab") as output:
            forked = None
            if self._preloaded is not None and self._preloaded.is_ready:
                forked = self._preloaded.fork(trial.path.absolute(), attempt, command, environment, output.fileno())
            if forked is None:
                with blocked():  # the shim unblocks its signals once it can answer them
                    self._shims[directory.path] = subprocess.Popen(
                        run_shim(trial.path, attempt, command),
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        env={**os.environ, **environment},
                        start_new_session=True,
                    )
            else:
                self._shims[directory.path] = forked
        if self._preload and self._preloaded is None:
            # Started after the first launch, so that the first trials do not wait until it has imported everything.
            self._preloaded = PreloadServer(command, {**os.environ, **threads_of(1)})

    def stop(self, attempt: AttemptDir) -> None:
        """Send SIGTERM to the shim, which passes it to the worker."""
        self._postponed.drop(attempt)
        self._signal_shim(attempt, signal.SIGTERM)

    def kill(self, attempt: AttemptDir) -> None:
        """Send SIGQUIT to the shim, which kills the attempt. If the shim is gone, send SIGKILL to what it left."""
        self._postponed.drop(attempt)
        if not self._signal_shim(attempt, signal.SIGQUIT):
            kill_marked(attempt)

    def dump(self, attempt: AttemptDir) -> None:
        """Send SIGUSR1 to the shim, which passes it to processes that handle it; skip a shim that does not."""
        shim = self._shims.get(attempt.path)
        pid = shim.pid if shim is not None else owner_of(attempt).get("pid")
        if isinstance(pid, int) and catches(pid, signal.SIGUSR1):
            self._signal_shim(attempt, signal.SIGUSR1)

    def faults(self) -> Mapping[str, str]:
        """Return the slots of which a device is lost."""
        lost = self._lost.faults()
        faults = {
            slot.name: [f"the device {device} is lost ({lost[device]})" for device in slot.devices if device in lost]
            for slot in self._slots
        }
        return {name: ", ".join(texts) for name, texts in faults.items() if texts}

    def avoid(self, node: str) -> bool:  # noqa: ARG002 - it is the only one
        """Return False: there is no other machine."""
        return False

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Return whether the shim runs or any process holds the lease.

        This call also cleans up. If the shim is gone, or an orchestrator that is gone launched the attempt, and no shim
        claimed it, the attempt is fenced off: a shim that starts late finds it claimed and ends. The slot of an attempt
        that is dead is released, since nothing else would do that as long as this process runs. If the shim is gone,
        the processes that it left are ended, because no process would pass a stop on to them, reap them or record how
        they ended.
        """
        if self._postponed.has(attempt):
            return True
        shim = self._shims.get(attempt.path)
        if shim is not None and shim.poll() is None:
            return True
        if not is_held(attempt.lease) and (self._fenced(attempt, shim) or not is_held(attempt.lease)):
            self._reservations.release(attempt)
            return False
        if (pid := self._gone_shim(attempt)) is not None:
            self._end_orphans(attempt, pid)
        return True

    def troubles(self) -> Sequence[str]:
        """Return why attempts are not preloaded as requested, how trials are packed, and what occupies slots."""
        trouble = "" if self._preloaded is None else self._preloaded.trouble
        not_preloaded = [f"trials are started without preloading: {trouble}"] if trouble else []
        packing = [] if self._packing is None else self._packing.notes
        return [*not_preloaded, *self._postponed.troubles, *packing, *self._reservations.notes]

    def waits_for(self) -> Sequence[Blocker]:
        """Return what is in the way of the slots that could not be reserved now."""
        return self._reservations.waits_for()

    def ends(self) -> Sequence[ForkedShim]:
        """Return the running shims that are not children of this process, so that their end sends no SIGCHLD."""
        return [shim for shim in self._shims.values() if isinstance(shim, ForkedShim) and shim.poll() is None]

    def close(self) -> None:
        """End the preload process and release unused reservations. Running attempts continue and keep their slots."""
        self._reservations.close()
        if self._preloaded is not None:
            self._preloaded.close()

    @staticmethod
    def _fenced(attempt: AttemptDir, shim: subprocess.Popen[bytes] | ForkedShim | None) -> bool:
        """Claim an attempt that no shim has claimed, so that none ever will; return whether this was done.

        Raises:
            Unwritable: The disk is full or gone, and it is not known whether a shim may still start.
        """
        try:
            return attempt.path.is_dir() and make_claim(attempt, {})
        except Unwritable:
            if shim is None:
                raise
            return False

    def _gone_shim(self, attempt: AttemptDir) -> int | None:
        """Return the pid of the attempt's shim if the shim ran on this machine and is gone, else None."""
        owner = owner_of(attempt)
        pid, here = owner.get("pid"), process_identity(os.getpid())
        if not isinstance(pid, int) or any(owner.get(key) != here.get(key) for key in ("host", "boot")):
            return None
        return None if is_process(owner, pid) else pid

    def _end_orphans(self, attempt: AttemptDir, session: int) -> None:
        """Send SIGTERM to the worker once; kill all that is left when the worker has ended or the grace period is over.

        Args:
            attempt: The attempt, without its shim.
            session: The session of its worker, which is the pid of the shim.
        """
        remaining = {pid: parent_and_session(pid) for pid in marked(attempt)}
        if attempt.path not in self._orphans:
            workers = {pid for pid, (parent, own) in remaining.items() if own == session and parent not in remaining}
            self._orphans[attempt.path] = time.monotonic() + ORPHAN_GRACE_S, workers
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        deadline, workers = self._orphans[attempt.path]
        if not workers & remaining.keys() or time.monotonic() > deadline:
            kill_marked(attempt)

    def _signal_shim(self, attempt: AttemptDir, number: signal.Signals) -> bool:
        """Send a signal to the attempt's shim, never to another process with its pid; return False if it is gone."""
        shim = self._shims.get(attempt.path)
        if shim is not None:
            shim.send_signal(number)  # the pid cannot have been reused: this process has not reaped the shim
            return shim.poll() is None
        return _signal_owner(owner_of(attempt), number)


def _signal_owner(owner: Mapping[str, object], number: signal.Signals) -> bool:
    """Send a signal to the process that made a claim; return False if it is gone.

    The pidfd is opened before the identity of the process is checked, so that its pid cannot be reused in between.
    """
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
