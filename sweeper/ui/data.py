"""What the charts of a page ask for, as the JSON of the service's answers; and the commands from the page."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sweeper.errors import UsageError
from sweeper.service.answers import Answer
from sweeper.service.answers.encoding import to_json, to_text
from sweeper.service.curves import POINTS
from sweeper.service.importance import importance_of
from sweeper.service.open_run import OpenRun
from sweeper.ui.commands import carried_out
from sweeper.ui.parallel import parallel_of
from sweeper.ui.questions import MOST_CURVES, numbers_of, whole
from sweeper.ui.reading import Reader

LARGEST_COMMAND = 1 << 20
"""Bytes of a command from the page."""
KEPT_S = 60.0
"""Seconds for which the importance of parameters counts as current, because it takes seconds of a core."""


@dataclass(slots=True)
class Data:
    """The routes below `/runs/NAME/data/`.

    Attributes:
        reader: what reads the runs.
    """

    reader: Reader
    _parallel: dict[str, tuple[int, str]] = field(default_factory=dict)
    _importance: dict[str, tuple[float, str]] = field(default_factory=dict)
    _computing: dict[str, asyncio.Future[str]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Return the routes."""
        below = "/runs/{name}/data"
        return [
            Route(f"{below}/curves", self.curves),
            Route(f"{below}/parallel", self.parallel),
            Route(f"{below}/importance", self.importance),
            Route(f"{below}/slots", self.slots),
            Route(f"{below}/front", self.front),
            Route(f"{below}/depth/{{number:int}}", self.depth),
            Route(f"{below}/checkpoints/{{number:int}}", self.checkpoints),
            Route(f"{below}/output/{{number:int}}", self.output),
            Route(f"{below}/trial/{{number:int}}", self.trial),
            Route("/runs/{name}/commands", self.command, methods=["POST"]),
        ]

    async def curves(self, request: Request) -> Response:
        """Return the curves of some trials."""
        query = request.query_params
        numbers = numbers_of(query.get("numbers", ""))
        if len(numbers) > MOST_CURVES:
            raise UsageError(f"numbers: expected at most {MOST_CURVES} trials, got {len(numbers)}")
        points = whole(query.get("points") or str(POINTS), "points")
        by = query.get("by") or "step"
        metrics = query.getlist("metric")
        return await self._answer(request, lambda run: run.curves(numbers, metrics, by=by, points=points))

    async def parallel(self, request: Request) -> Response:
        """Return the parallel coordinates of all trials; they are made once for each revision."""
        name = request.path_params["name"]

        def asked(run: OpenRun) -> str:
            revision = run.current()
            if self._parallel.get(name, (-1, ""))[0] != revision:
                self._parallel[name] = revision, to_text(parallel_of(run.columns, revision), indent=None)
            return self._parallel[name][1]

        return _json(await self.reader.ask(name, asked))

    async def importance(self, request: Request) -> Response:
        """Return the importance of the parameters; it is computed beside the other questions."""
        name = request.path_params["name"]
        directory = self.reader.service.run(name).directory
        made, text = self._importance.get(name, (-KEPT_S, ""))
        if time.monotonic() - made > KEPT_S:
            task = self._computing.get(name)
            if task is None or task.done():  # pages that ask meanwhile wait for the same answer, and take no thread
                asked = self.reader.elsewhere(lambda: to_text(importance_of(directory), indent=None))
                task = self._computing[name] = asyncio.ensure_future(asked)
            text = await asyncio.shield(task)
            self._importance[name] = time.monotonic(), text
        return _json(text)

    async def slots(self, request: Request) -> Response:
        """Return the attempts over time."""
        return await self._answer(request, OpenRun.slots)

    async def front(self, request: Request) -> Response:
        """Return the trials over each pair of objectives."""
        return await self._answer(request, OpenRun.front)

    async def depth(self, request: Request) -> Response:
        """Return the depth profile of a trial."""
        number = request.path_params["number"]
        return await self._answer(request, lambda run: run.depth(number))

    async def checkpoints(self, request: Request) -> Response:
        """Return the checkpoints from which a trial can be derived."""
        number = request.path_params["number"]
        return await self._answer(request, lambda run: run.checkpoints(number))

    async def output(self, request: Request) -> Response:
        """Return the end of the output of a trial, or what follows an offset."""
        number, query = request.path_params["number"], request.query_params
        after = whole(query["after"], "after") if "after" in query else None
        attempt = whole(query["attempt"], "attempt") if "attempt" in query else None
        return await self._answer(request, lambda run: run.output(number, attempt=attempt, after=after))

    async def trial(self, request: Request) -> Response:
        """Return one trial in full."""
        number = request.path_params["number"]
        return await self._answer(request, lambda run: run.trial(number))

    async def command(self, request: Request) -> Response:
        """Carry out a command."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise UsageError("expected a command as application/json")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_COMMAND:
                raise UsageError(f"expected a command of at most {LARGEST_COMMAND} bytes")
        try:
            given = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UsageError("expected a command as JSON") from error
        sent = await self.reader.ask(request.path_params["name"], lambda run: carried_out(run, given))
        return JSONResponse(to_json(sent))

    async def _answer(self, request: Request, question: Callable[[OpenRun], Answer]) -> Response:
        def asked(run: OpenRun) -> str:
            return to_text(question(run), indent=None)

        return _json(await self.reader.ask(request.path_params["name"], asked))


def _json(text: str) -> Response:
    return Response(text, media_type="application/json", headers={"cache-control": "no-store"})
