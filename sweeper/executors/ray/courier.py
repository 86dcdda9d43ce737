"""The thread that waits for hosts, so that the orchestrator does not: orders go out, and what attempts write comes in.

The record here is written as it arrives; the orchestrator is woken when an attempt has ended, and all of it is here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweeper.errors import Unwritable
from sweeper.executors.ray.mirror import Replica

if TYPE_CHECKING:
    from sweeper.executors.ray.cluster import Foreign
    from sweeper.executors.ray.host import Key, Order, Report

PAUSE_S = 0.02
"""While nothing is awaited; and the longest that a new question waits to be looked at."""


@dataclass(slots=True, kw_only=True)
class Remote:
    """An attempt that a host was ordered to run, or holds; `placed` once that is known to have begun."""

    key: Key
    host: Foreign
    replica: Replica
    placed: bool = False
    since: float = field(default_factory=time.monotonic)


class Courier:
    """Keeps the replicas of attempts up to date until they have ended; `gone` is told of hosts that are no more.

    `remotes` are the attempts that may live.
    """

    def __init__(self, gone: Callable[[Foreign], None]) -> None:
        self.remotes: dict[Key, Remote] = {}
        self._gone = gone
        self._awaited: dict[Foreign, Callable[[Foreign], None]] = {}
        self._new: list[tuple[Foreign, Callable[[Foreign], None]]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.troubles: dict[str, None] = {}
        self.failure: Unwritable | None = None
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable once an attempt has ended since the last `looked`."""
        return self._awake

    def looked(self) -> None:
        """Be readable no longer."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._awake, 1024)

    def expect(self, answer: Foreign, take: Callable[[Foreign], None]) -> None:
        """Have `take` called, in this thread, with the answer's reference once it is there or cannot come."""
        with self._lock:
            self._new.append((answer, take))

    def start(self, remote: Remote, order: Order) -> None:
        """Have an attempt run, and bring what it writes until it has ended."""
        self.remotes[remote.key] = remote
        self.expect(remote.host.start.remote(order), lambda ref: self._started(remote, ref))

    def follow(self, remote: Remote) -> None:
        """Bring what an attempt writes until it has ended."""
        self.remotes[remote.key] = remote
        self.expect(remote.host.news.remote(remote.key, remote.replica.known), lambda ref: self._take(remote, ref))

    def close(self) -> None:
        """Bring nothing more."""
        self._closed.set()
        self._thread.join()

    def _started(self, remote: Remote, ref: Foreign) -> None:
        remote.placed = True
        if self._answer(remote, ref):
            self.follow(remote)

    def _take(self, remote: Remote, ref: Foreign) -> None:
        report: Report | None = self._answer(remote, ref)
        if report is None:
            return
        self.troubles |= dict.fromkeys(report.troubles)
        remote.replica.take(report.news)
        if report.alive:
            self.follow(remote)
            return
        remote.replica.sync()
        remote.host.forget.remote(remote.key)
        self._end(remote)

    def _answer(self, remote: Remote, ref: Foreign) -> Foreign:
        """What a host answers; where there is nothing in it, or it is gone, the attempt has ended."""
        import ray

        try:
            answer = ray.get(ref)
        except ray.exceptions.RayActorError:
            self._gone(remote.host)
            answer = None
        if not answer:
            self._end(remote)
        return answer

    def _end(self, remote: Remote) -> None:
        self.remotes.pop(remote.key, None)
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
                except Unwritable as error:  # said by the orchestrator, which ends; the attempts go on
                    self.failure = error
                    return
