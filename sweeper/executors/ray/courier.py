"""The thread that waits for hosts, so that the orchestrator does not: orders go out, and what attempts write comes in.

The record here is written as it arrives; the orchestrator is woken when an attempt has ended, and all of it is here.
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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from sweeper.executors.ray.mirror import Replica

if TYPE_CHECKING:
    from sweeper.executors.ray.cluster import Foreign
    from sweeper.executors.ray.host import Key, Order, Report

TRIES = 3
ENDS_WITHIN_S = 5.0
PAUSE_S = 0.02
"""While nothing is awaited; and the longest that a new question waits to be looked at."""


@dataclass(slots=True, kw_only=True)
class Remote:
    """An attempt that a host was ordered to run, or holds; `placed` once that is known to have begun.

    Of one that was `cancelled` before, nothing is to begin.
    """

    key: Key
    slot: str
    host: Foreign
    replica: Replica
    placed: bool = False
    cancelled: bool = False
    tries: int = 0
    since: float = field(default_factory=time.monotonic)


class Hosts(Protocol):
    """Whoever has the hosts."""

    def host(self, slot: str) -> Foreign:
        """The host of a slot, which may still have to be placed."""

    def without(self, host: Foreign) -> None:
        """Know that a host is gone."""


class Courier:
    """Keeps the replicas of attempts up to date until they have ended; `remotes` are those that may live."""

    def __init__(self, hosts: Hosts) -> None:
        self.remotes: dict[Key, Remote] = {}
        self._hosts = hosts
        self._awaited: dict[Foreign, Callable[[Foreign], None]] = {}
        self._new: list[tuple[Foreign, Callable[[Foreign], None]]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._shown = 0
        self.troubles: dict[str, None] = {}
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable once an attempt has ended."""
        return self._awake

    def show(self) -> Courier:
        """This, readable for the ends that were not yet there when it was shown before the last time."""
        if self._shown:
            os.read(self._awake, self._shown)
        waiting = array("i", [0])
        fcntl.ioctl(self._awake, termios.FIONREAD, waiting)
        self._shown = waiting[0]
        return self

    def expect(self, answer: Foreign, take: Callable[[Foreign], None]) -> None:
        """Have `take` called, in this thread, with the answer's reference once it is there or cannot come."""
        with self._lock:
            self._new.append((answer, take))

    def start(self, remote: Remote, order: Order) -> None:
        """Have an attempt run, and bring what it writes until it has ended."""
        self.remotes[remote.key] = remote
        self.expect(remote.host.serve.remote(order.driver), lambda ref: self._found(remote, order, ref))

    def follow(self, remote: Remote) -> None:
        """Bring what an attempt writes until it has ended."""
        self.remotes[remote.key] = remote
        self.expect(remote.host.news.remote(remote.key, remote.replica.known), lambda ref: self._take(remote, ref))

    def close(self) -> None:
        """Bring nothing more; of those whose end is here already, hosts are told first that they may forget them."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while time.monotonic() < deadline and any(r.replica.has_ended for r in list(self.remotes.values())):
            time.sleep(PAUSE_S)
        self._closed.set()
        self._thread.join()

    def _found(self, remote: Remote, order: Order, ref: Foreign) -> None:
        """Order the attempt from a host that answers. One that never did has begun nothing: then from another one."""
        import ray

        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            self._hosts.without(remote.host)
            remote.tries += 1
            if remote.cancelled or remote.tries == TRIES:
                self._end(remote, "" if remote.cancelled else f"no host for it came up: {_in_short(error)}")
                return
            remote.host = self._hosts.host(remote.slot)
            self.start(remote, order)
            return
        self.expect(remote.host.start.remote(order), lambda ref: self._started(remote, ref))

    def _started(self, remote: Remote, ref: Foreign) -> None:
        import ray

        try:
            begun = bool(ray.get(ref))
        except ray.exceptions.RayError as error:
            self._end(remote, f"its host could not start it: {_in_short(error)}")
            return
        if begun:
            remote.placed = True
            self.follow(remote)
        else:
            self._end(remote)

    def _take(self, remote: Remote, ref: Foreign) -> None:
        import ray

        try:
            report = cast("Report", ray.get(ref))
        except ray.exceptions.RayActorError:
            self._hosts.without(remote.host)
            self._end(remote, "its host is gone")
            return
        self.troubles |= dict.fromkeys(report.troubles)
        remote.replica.take(report.news)
        if report.alive:
            self.follow(remote)
            return
        remote.replica.sync()
        self.expect(remote.host.forget.remote(remote.key), lambda _: self._end(remote))

    def _end(self, remote: Remote, why: str = "") -> None:
        self.remotes.pop(remote.key, None)
        if why:
            self.troubles[f"{remote.key[0]:04d}: {why}"] = None
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"\0")

    def _run(self) -> None:
        import ray

        while not self._closed.is_set():
            with self._lock:
                self._awaited |= dict(self._new)
                self._new.clear()
            if not self._awaited:
                self._closed.wait(PAUSE_S)
                continue
            ready, _ = ray.wait(list(self._awaited), timeout=PAUSE_S, fetch_local=True)
            for ref in ready:
                take = self._awaited.pop(ref)
                try:
                    take(ref)
                except Exception as error:  # noqa: BLE001 - raised where the orchestrator asks; the attempts go on
                    self.failure = error
                    return


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[-400:]
