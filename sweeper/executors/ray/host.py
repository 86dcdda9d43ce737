"""What runs on a node: an actor that holds the resources of one slot, and runs attempts in them, one after the other.

To the attempts it is what the local executor is, for it has one; they do not outlive its process
(`record.layout.KEEPER`). It keeps what they wrote until somebody has it. An actor is a slot's and not an attempt's
because a process of Ray costs half a second of a core to start, and an attempt a few milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.ray.mirror import Known, Luggage, News, forget, news_of, unpack
from sweeper.record.storage.claim import keeper, stake
from sweeper.record.storage.layout import AttemptDir, TrialDir

LOOK_EVERY_S = 0.05
LONGEST_WAIT_S = 5.0
DESERTED_S = 60.0
"""A host without an attempt that nobody called for so long ends, so that what it holds is not lost to others."""

Key = tuple[int, int]
"""Of an attempt: the numbers of trial and attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An attempt that is to be run, by whom it is ordered, and all that it needs."""

    driver: str
    trial: str
    attempt: int
    command: Sequence[str]
    luggage: Luggage


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of an attempt since it was asked for last; not `alive`: this is all there will be."""

    alive: bool
    news: News
    troubles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a host works: the folder of the sweep on its node, the driver's interpreter and folder, and for whom."""

    driver: str
    folder: str
    python: str
    cwd: str
    environment: Mapping[str, str]
    preload: bool


class Host:
    """The actor. Orders are taken from the driver that came last only: what an earlier one sent may arrive late."""

    def __init__(self, place: Place) -> None:
        if place.cwd and Path(place.cwd).is_dir():
            os.chdir(place.cwd)
        self._place = place
        self._local = LocalExecutor(
            [Slot(name="here", environment={**place.environment, **keeper(os.getpid())})], preload=place.preload
        )
        self._held: dict[Key, TrialDir] = {}
        self._driver = place.driver
        self._called = time.monotonic()
        threading.Thread(target=self._leave_when_deserted, daemon=True).start()

    async def serve(self, driver: str) -> list[Key]:
        """Take orders from this driver from now on; returns the attempts that are held for whoever comes."""
        self._driver = driver
        self._called = time.monotonic()
        return list(self._held)

    async def start(self, order: Order) -> bool:
        """Start an attempt; False where it was held already, or its driver is no longer the one."""
        self._called = time.monotonic()
        trial = TrialDir(Path(self._place.folder) / "trials" / order.trial)
        key = (trial.number, order.attempt)
        if order.driver != self._driver or key in self._held:
            return False
        trial.path.mkdir(parents=True, exist_ok=True)
        self._end_others(trial, order.attempt)
        unpack(order.luggage, trial)
        self._held[key] = trial
        command = [sys.executable if word == self._place.python else word for word in order.command]
        self._local.launch(trial, order.attempt, command, self._local.slots()[0])
        return True

    async def news(self, key: Key, known: Known) -> Report:
        """What the attempt wrote that is not known yet, as soon as there is any, or it has ended."""
        deadline = time.monotonic() + LONGEST_WAIT_S
        while True:
            self._called = time.monotonic()
            if key not in self._held:
                return Report(alive=False, news=News())
            trial, attempt = self._held[key], self._attempt(key)
            alive = self._local.is_alive(attempt)  # asked first: what is found after its end is all there is
            news = news_of(trial, attempt, known)
            done = not alive and news.kept is not None and not news.pieces
            if news.pieces or done or time.monotonic() > deadline:
                return Report(alive=not done, news=news, troubles=tuple(self._local.troubles()))
            await asyncio.sleep(LOOK_EVERY_S)

    async def stop(self, key: Key) -> None:
        """Ask the attempt to end."""
        if key in self._held:
            self._local.stop(self._attempt(key))

    async def kill(self, key: Key) -> None:
        """End the attempt."""
        if key in self._held:
            self._local.kill(self._attempt(key))

    async def dump(self, key: Key) -> None:
        """Ask the attempt for its stacks."""
        if key in self._held:
            self._local.dump(self._attempt(key))

    async def forget(self, key: Key) -> None:
        """Keep the attempt no longer: the driver has all of it."""
        trial = self._held.pop(key, None)
        if trial is not None and not any(number == key[0] for number, _ in self._held):
            forget(trial)

    def _attempt(self, key: Key) -> AttemptDir:
        return self._held[key].attempt(key[1])

    def _end_others(self, trial: TrialDir, number: int) -> None:
        """See that no other attempt runs here: a host that is gone may have left one, or one whose shim comes late."""
        for attempt in trial.attempts():
            if attempt.number == number:
                continue
            stake(attempt, {})
            self._local.kill(attempt)
            deadline = time.monotonic() + LONGEST_WAIT_S
            while self._local.is_alive(attempt) and time.monotonic() < deadline:
                time.sleep(0.01)

    def _leave_when_deserted(self) -> None:
        while self._held or time.monotonic() - self._called < DESERTED_S:
            time.sleep(1.0)
        os._exit(0)
