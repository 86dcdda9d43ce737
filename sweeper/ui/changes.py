"""Server-sent events: an open page is told when the record of its run has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sweeper.errors import SweeperError
from sweeper.ui.reading import Reader

EVERY_S = 0.5
"""How often a run is read while a page shows it."""
LEAST_REST = 10
"""A run is read again after so many times the time that its last reading took: ten percent of a core at most."""
KEPT_ALIVE_S = 15.0
"""After so many seconds without a change, a comment is sent, which finds out that a reader is gone."""


@dataclass(slots=True)
class Changes:
    """The revisions of the runs that pages show. A run is read once for all of its pages, and only while there are any.

    Attributes:
        reader: what reads the runs.
    """

    reader: Reader
    _waiting: dict[str, set[asyncio.Queue[str | None]]] = field(default_factory=dict)
    _watching: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def events(self, name: str) -> AsyncIterator[str]:
        """Yield the events of a run, until the server ends or no browser reads them."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._waiting.setdefault(name, set()).add(queue)
        if name not in self._watching:
            self._watching[name] = asyncio.create_task(self._watch(name))
        try:
            yield "retry: 2000\n\n"
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), KEPT_ALIVE_S)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if event is None:
                    return
                yield event
        finally:
            self._leave(name, queue)

    def close(self) -> None:
        """End all events."""
        for queues in self._waiting.values():
            for queue in queues:
                queue.put_nowait(None)
        for task in self._watching.values():
            task.cancel()

    def _leave(self, name: str, queue: asyncio.Queue[str | None]) -> None:
        self._waiting[name].discard(queue)
        if not self._waiting[name]:
            del self._waiting[name]
            self._watching.pop(name).cancel()

    async def _watch(self, name: str) -> None:
        known: tuple[int, int] | None = None
        while True:
            try:
                seen = await self.reader.refresh(name), len(self._waiting.get(name, ()))
                text = json.dumps({"revision": seen[0]})
            except SweeperError as error:
                seen, text = (-1, 0), json.dumps({"problem": str(error)})
            if seen != known:  # a new page is told the revision at once, too
                self._tell(name, f"event: change\ndata: {text}\n\n")
                known = seen
            await asyncio.sleep(max(EVERY_S, LEAST_REST * self.reader.cost(name)))

    def _tell(self, name: str, event: str) -> None:
        for queue in self._waiting.get(name, ()):
            queue.put_nowait(event)
