"""The actor that holds the resources of one slot on a Ray node, and runs attempts in them one after the other.

It runs attempts with a `LocalExecutor`, and they do not outlive its process (`record.storage.layout.KEEPER`). It keeps
what they wrote until a driver has received all of it. There is one actor for each slot rather than for each attempt,
because starting a Ray process takes half a second of a core, and starting an attempt a few milliseconds.
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
from sweeper.executors.ray.mirror import FileUpdates, KnownFiles, TrialFiles, forget, unpack, updates_of
from sweeper.executors.slots.ledger import own_directory
from sweeper.record.storage import confined
from sweeper.record.storage.claim import keeper, make_claim
from sweeper.record.storage.layout import AttemptDir, TrialDir

POLL_S = 0.05
MAX_WAIT_S = 5.0
IDLE_TIMEOUT_S = 60.0
"""A host without attempts ends if no driver has called it for this long, so that its resources become free."""

AttemptKey = tuple[int, int]
"""The number of a trial and the number of its attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """A request to run an attempt.

    Attributes:
        driver: The identifier of the driver that sends it.
        trial: The name of the trial's directory.
        attempt: The number of the attempt.
        command: The command of the trial, with the driver's interpreter.
        files: What the trial's directory contains, except for its attempts.
    """

    driver: str
    trial: str
    attempt: int
    command: Sequence[str]
    files: TrialFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReply:
    """What an attempt wrote since the last reply. If it is not `alive`, this is the last reply."""

    alive: bool
    updates: FileUpdates
    troubles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """How a host runs attempts.

    Attributes:
        driver: The identifier of the driver that creates it.
        folder: The folder for the sweep on the node.
        private: The folder above it in the temporary directory, which has to belong to this user alone; empty where the
            user has named a folder.
        python: The driver's interpreter, which the host replaces in commands by its own.
        cwd: The folder in which attempts start, if it exists on the node; empty: that of the Ray worker.
        environment: Variables for attempts.
        preload: Whether attempts are forked from a process that has already imported what they import.
    """

    driver: str
    folder: str
    python: str
    cwd: str
    environment: Mapping[str, str]
    preload: bool
    private: str = ""


class RayHost:
    """The actor. It accepts launch requests from the latest driver only: those of an earlier one may arrive late."""

    def __init__(self, settings: HostSettings) -> None:
        """Prepare to run attempts, and end by itself if no driver calls for `IDLE_TIMEOUT_S`."""
        if settings.cwd and Path(settings.cwd).is_dir():
            os.chdir(settings.cwd)
        self._settings = settings
        self._local = LocalExecutor(
            [Slot(name="here", environment={**settings.environment, **keeper(os.getpid())})], preload=settings.preload
        )
        self._attempts: dict[AttemptKey, TrialDir] = {}
        self._driver = settings.driver
        self._last_call = time.monotonic()
        threading.Thread(target=self._exit_when_idle, daemon=True).start()

    async def serve(self, driver: str) -> list[AttemptKey]:
        """Accept launch requests from this driver only, from now on; return the attempts that are here."""
        self._driver = driver
        self._last_call = time.monotonic()
        return list(self._attempts)

    async def start(self, request: LaunchRequest) -> bool:
        """Start an attempt; return False if it was started before, or if another driver has taken over.

        Raises:
            OSError: The folder in the temporary directory is not this user's own.
        """
        self._last_call = time.monotonic()
        trial = TrialDir(Path(self._settings.folder) / "trials" / request.trial)
        key = (trial.number, request.attempt)
        if request.driver != self._driver or key in self._attempts:
            return False
        self._make_folder(trial)
        self._end_others(trial, request.attempt)
        unpack(request.files, trial)
        self._attempts[key] = trial
        command = [sys.executable if word == self._settings.python else word for word in request.command]
        self._local.launch(trial, request.attempt, command, self._local.slots()[0])
        return True

    async def updates(self, key: AttemptKey, known: KnownFiles) -> HostReply:
        """Return what the attempt wrote beyond what the driver knows.

        Waits until there is something new or the attempt has ended, for `MAX_WAIT_S` at most.
        """
        deadline = time.monotonic() + MAX_WAIT_S
        while True:
            self._last_call = time.monotonic()
            if key not in self._attempts:
                return HostReply(alive=False, updates=FileUpdates())
            trial, attempt = self._attempts[key], self._attempt(key)
            alive = self._local.is_alive(attempt)  # asked first, so that files read after the end are complete
            updates = updates_of(trial, attempt, known)
            done = not alive and updates.checkpoints is not None and not updates.chunks
            if updates.chunks or done or time.monotonic() > deadline:
                return HostReply(alive=not done, updates=updates, troubles=tuple(self._local.troubles()))
            await asyncio.sleep(POLL_S)

    async def stop(self, key: AttemptKey) -> None:
        """Ask the attempt to end after its current step."""
        if key in self._attempts:
            self._local.stop(self._attempt(key))

    async def kill(self, key: AttemptKey) -> None:
        """End the attempt immediately."""
        if key in self._attempts:
            self._local.kill(self._attempt(key))

    async def dump(self, key: AttemptKey) -> None:
        """Have the attempt write its stacks to its output."""
        if key in self._attempts:
            self._local.dump(self._attempt(key))

    async def forget(self, key: AttemptKey) -> None:
        """Delete the attempt, because the driver has all of it."""
        trial = self._attempts.pop(key, None)
        if trial is not None and not any(number == key[0] for number, _ in self._attempts):
            forget(trial)

    def _make_folder(self, trial: TrialDir) -> None:
        if self._settings.private:
            own_directory(Path(self._settings.private))
        Path(self._settings.folder).mkdir(parents=True, exist_ok=True)
        confined.make_folder(trial.path)

    def _attempt(self, key: AttemptKey) -> AttemptDir:
        return self._attempts[key].attempt(key[1])

    def _end_others(self, trial: TrialDir, number: int) -> None:
        """End other attempts of the trial on this node, which a lost host may have left or requested."""
        for attempt in trial.attempts():
            if attempt.number == number:
                continue
            make_claim(attempt, {})
            self._local.kill(attempt)
            deadline = time.monotonic() + MAX_WAIT_S
            while self._local.is_alive(attempt) and time.monotonic() < deadline:
                time.sleep(0.01)

    def _exit_when_idle(self) -> None:
        while self._attempts or time.monotonic() - self._last_call < IDLE_TIMEOUT_S:
            time.sleep(1.0)
        os._exit(0)
