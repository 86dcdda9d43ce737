"""Asking the service from an event loop: one question to a run at a time, in a thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sweeper.service.open_run import OpenRun
from sweeper.service.service import Service

T = TypeVar("T")

THREADS = 4
FIRST_WAIT_S = 0.3
"""How long a page waits for the first reading of a run, which takes seconds if it has thousands of trials."""


@dataclass(slots=True)
class Reader:
    """The runs of a folder, for a server: the service itself is not safe for several threads.

    Attributes:
        folder: the folder of runs, or the directory of one.
    """

    folder: Path
    service: Service = field(init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _first: dict[str, asyncio.Task[int]] = field(default_factory=dict)
    _costs: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.service = Service(self.folder)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sweeper-ui")

    async def ask(self, name: str, question: Callable[[OpenRun], T]) -> T:
        """Return the answer of a run.

        Raises:
            UsageError: there is no run of this name, or the question is wrong.
            RecordError: the run cannot be read.
        """
        run = self.service.run(name)
        async with self._locks[name]:
            return await self.elsewhere(lambda: question(run))

    async def elsewhere(self, work: Callable[[], T]) -> T:
        """Return what a function returns that is called in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def refresh(self, name: str) -> int:
        """Read what was appended to a run; return its revision."""
        begun = time.monotonic()
        revision = await self.ask(name, OpenRun.refresh)
        self._costs[name] = time.monotonic() - begun
        return revision

    def cost(self, name: str) -> float:
        """Return how many seconds the last reading of a run took."""
        return self._costs.get(name, 0.0)

    async def is_read(self, name: str, *, wait_s: float = FIRST_WAIT_S) -> bool:
        """Return whether a run was read once. If not, its first reading is begun, and this waits for it for a moment.

        Raises:
            UsageError: there is no run of this name.
            RecordError: the run cannot be read.
        """
        self.service.run(name)
        task = self._first.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._first[name] = asyncio.create_task(self.refresh(name))
        await asyncio.wait([task], timeout=wait_s)
        return task.done() and task.result() >= 0

    def close(self) -> None:
        """End the threads; what they do now is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
