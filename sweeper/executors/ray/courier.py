"""The thread that exchanges messages with hosts, so that the orchestrator never waits for them.

It sends launch requests to hosts, and writes what attempts append there to the record here as it arrives. It wakes the
orchestrator when an attempt has ended and all of its record has arrived.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from sweeper.executors.ray.mirror import Replica

if TYPE_CHECKING:
    from sweeper.executors.ray.cluster import Foreign
    from sweeper.executors.ray.host import AttemptKey, HostReply, LaunchRequest

MAX_TRIES = 3
CLOSE_TIMEOUT_S = 5.0
POLL_S = 0.02
"""The longest that a new call to a host, or the end of this thread, waits to be noticed."""


@dataclass(slots=True, kw_only=True)
class RemoteAttempt:
    """An attempt that a host runs, or was asked to run.

    Attributes:
        key: The attempt.
        slot: The name of its slot.
        host: The handle of the actor that runs it.
        replica: The copy of the trial's directory on this machine.
        started: Whether the host has started it.
        cancelled: Whether it must not start any more.
        tries: The number of hosts that ended before they could start it.
    """

    key: AttemptKey
    slot: str
    host: Foreign
    replica: Replica
    started: bool = False
    cancelled: bool = False
    tries: int = 0


class HostPool(Protocol):
    """The hosts of all slots."""

    def host(self, slot: str) -> Foreign:
        """Return the host of a slot; Ray may not have started it yet."""

    def remove(self, host: Foreign) -> None:
        """Remove a host that is gone."""


class Courier:
    """Keeps the replicas of attempts up to date until the attempts have ended.

    Attributes:
        remotes: The attempts that may be alive.
        troubles: Messages for the user, in order, as the keys of a dictionary.
        failure: The exception that ended the thread; None while it runs.
    """

    def __init__(self, hosts: HostPool) -> None:
        """Start the thread."""
        self.remotes: dict[AttemptKey, RemoteAttempt] = {}
        self._hosts = hosts
        self._awaited: dict[Foreign, Callable[[Foreign], None]] = {}
        self._new: list[tuple[Foreign, Callable[[Foreign], None]]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._wakeup, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._seen = 0
        self.troubles: dict[str, None] = {}
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return a descriptor that is readable once an attempt has ended."""
        return self._wakeup

    def acknowledge(self) -> Courier:
        """Return this object, no longer readable for the ends that were there at the previous call.

        The caller handles those ends between two calls. Ends that came after the previous call keep it readable.
        """
        if self._seen:
            os.read(self._wakeup, self._seen)
        available = array("i", [0])
        fcntl.ioctl(self._wakeup, termios.FIONREAD, available)
        self._seen = available[0]
        return self

    def expect(self, result: Foreign, callback: Callable[[Foreign], None]) -> None:
        """Call `callback` in this object's thread with a reference once its result is there or has failed."""
        with self._lock:
            self._new.append((result, callback))

    def start(self, remote: RemoteAttempt, request: LaunchRequest) -> None:
        """Have a host start an attempt, and transfer its record until it has ended."""
        self.remotes[remote.key] = remote
        self.expect(remote.host.serve.remote(request.driver), lambda ref: self._on_host_ready(remote, request, ref))

    def follow(self, remote: RemoteAttempt) -> None:
        """Transfer the record of an attempt until it has ended."""
        self.remotes[remote.key] = remote
        updates = remote.host.updates.remote(remote.key, remote.replica.known)
        self.expect(updates, lambda ref: self._on_reply(remote, ref))

    def close(self) -> None:
        """End the thread. Before, wait until hosts have deleted what has arrived here in full."""
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        while time.monotonic() < deadline and any(r.replica.has_ended for r in list(self.remotes.values())):
            time.sleep(POLL_S)
        self._closed.set()
        self._thread.join()

    def _on_host_ready(self, remote: RemoteAttempt, request: LaunchRequest, ref: Foreign) -> None:
        """Send the launch request to a host that responds. A host that failed has started nothing: try another one."""
        import ray

        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            self._hosts.remove(remote.host)
            remote.tries += 1
            if remote.cancelled or remote.tries == MAX_TRIES:
                self._end(
                    remote, "" if remote.cancelled else f"no Ray actor could be started for it: {_in_short(error)}"
                )
                return
            remote.host = self._hosts.host(remote.slot)
            self.start(remote, request)
            return
        self.expect(remote.host.start.remote(request), lambda ref: self._on_started(remote, ref))

    def _on_started(self, remote: RemoteAttempt, ref: Foreign) -> None:
        import ray

        try:
            started = bool(ray.get(ref))
        except ray.exceptions.RayError as error:
            self._end(remote, f"its Ray actor could not start it: {_in_short(error)}")
            return
        if started:
            remote.started = True
            self.follow(remote)
        else:
            self._end(remote)

    def _on_reply(self, remote: RemoteAttempt, ref: Foreign) -> None:
        """Write what has arrived of the record, and ask for more unless the attempt has ended."""
        import ray

        try:
            reply = cast("HostReply", ray.get(ref))
        except ray.exceptions.RayActorError:
            self._hosts.remove(remote.host)
            self._end(remote, "its Ray actor is gone")
            return
        self.troubles |= dict.fromkeys(reply.troubles)
        remote.replica.apply(reply.updates)
        if reply.alive:
            self.follow(remote)
            return
        remote.replica.sync()
        self.expect(remote.host.forget.remote(remote.key), lambda _: self._end(remote))

    def _end(self, remote: RemoteAttempt, reason: str = "") -> None:
        """Count an attempt as ended, and wake the orchestrator."""
        self.remotes.pop(remote.key, None)
        if reason:
            self.troubles[f"{remote.key[0]:04d}: {reason}"] = None
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"\0")

    def _run(self) -> None:
        import ray

        while not self._closed.is_set():
            with self._lock:
                self._awaited |= dict(self._new)
                self._new.clear()
            if not self._awaited:
                self._closed.wait(POLL_S)
                continue
            ready, _ = ray.wait(list(self._awaited), timeout=POLL_S, fetch_local=True)
            for ref in ready:
                callback = self._awaited.pop(ref)
                try:
                    callback(ref)
                except Exception as error:  # noqa: BLE001 - `RayExecutor.is_alive` raises it; the attempts continue
                    self.failure = error
                    return


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[-400:]
