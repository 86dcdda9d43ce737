"""The application: pages of runs, sweeps and trials, their parts that change, and the events that say so."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeper.errors import RecordError, SweeperError, UsageError
from sweeper.record.storage.layout import SweepDir
from sweeper.service.access import Access, Guard
from sweeper.service.access import Request as Asked
from sweeper.service.answers.sweep import RunRow, Runs, Sweep
from sweeper.service.answers.trial import TrialPage
from sweeper.service.open_run import OpenRun
from sweeper.ui import assets, pages
from sweeper.ui.changes import Changes
from sweeper.ui.data import Data
from sweeper.ui.questions import Question, brushed, question_of
from sweeper.ui.reading import Reader

RUNS_WAIT_S = 0.3
"""How long the page of all runs waits for first readings."""
NO_TRIAL = -1
"""The number of no trial: a table with a filter that keeps none."""
UNCHANGED = 204
ABSENT = ("expected the name of a run", "expected the number of a trial (")
"""What an error of the service says if there is no such run or trial."""


@dataclass(slots=True)
class Site:
    """The pages.

    Attributes:
        reader: what reads the runs.
    """

    reader: Reader
    changes: Changes = field(init=False)
    data: Data = field(init=False)

    def __post_init__(self) -> None:
        self.changes, self.data = Changes(self.reader), Data(self.reader)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.runs),
            Route("/live", self.live_runs),
            Route("/runs/{name}", self.sweep),
            Route("/runs/{name}/live", self.live_sweep),
            Route("/runs/{name}/events", self.events),
            Route("/runs/{name}/trials/{number:int}", self.trial),
            Route("/runs/{name}/trials/{number:int}/live", self.live_trial),
            Route("/runs/{name}/compare/{first:int}/{second:int}", self.compare),
            *self.data.routes(),
            Route("/static/{file}", assets.own_file),
            Route("/plotly/{version}/plotly.min.js", assets.plotly),
        ]

    # ---- pages

    async def runs(self, _: Request) -> Response:
        """Return the page of all runs; if there is one only by construction, go to it."""
        if single := self.reader.service.single:
            return RedirectResponse(f"/runs/{pages.quoted(single)}")
        return HTMLResponse(pages.runs_page(*await self._runs()))

    async def sweep(self, request: Request) -> Response:
        """Return the page of a sweep."""
        name, question = request.path_params["name"], question_of(request.query_params)
        if not await self.reader.is_read(name):
            return await self._reading(name)
        sweep, page = await self.reader.ask(name, lambda run: _state(run, question))
        return HTMLResponse(pages.sweep_page(sweep, page, question, several=self._are_several))

    async def trial(self, request: Request) -> Response:
        """Return the page of a trial."""
        name, number = request.path_params["name"], request.path_params["number"]
        if not await self.reader.is_read(name):
            return await self._reading(name)
        asked = await self.reader.ask(name, lambda run: (run.trial(number), run.lineage(number), run.sweep()))
        return HTMLResponse(pages.trial_page(*asked, several=self._are_several))

    async def compare(self, request: Request) -> Response:
        """Return the page of two trials side by side."""
        name = request.path_params["name"]
        if not await self.reader.is_read(name):
            return await self._reading(name)
        first, second = request.path_params["first"], request.path_params["second"]
        found = await self.reader.ask(name, lambda run: run.compare(first, second))
        return HTMLResponse(pages.comparison_page(found, several=self._are_several))

    # ---- what changes of them

    async def live_runs(self, _: Request) -> Response:
        """Return the table of all runs."""
        runs, reading = await self._runs()
        return JSONResponse({"table": pages.runs_part(runs, reading), "reading": len(reading)})

    async def live_sweep(self, request: Request) -> Response:
        """Return the verdict and the table of a sweep, unless nothing has changed since the revision `seen`."""
        question, seen = question_of(request.query_params), request.query_params.get("seen", "")
        name = request.path_params["name"]

        def asked(run: OpenRun) -> dict[str, Any] | None:
            sweep, page = _state(run, question)
            if str(sweep.revision) == seen:
                return None
            return {
                "revision": sweep.revision,
                "state": sweep.state,
                "summary": pages.summary_part(sweep),
                "table": pages.table_part(sweep, page, question),
                "matched": page.matched,
            }

        return _changed(await self.reader.ask(name, asked))

    async def live_trial(self, request: Request) -> Response:
        """Return what changes of the page of a trial."""
        number, seen = request.path_params["number"], request.query_params.get("seen", "")

        def asked(run: OpenRun) -> dict[str, Any] | None:
            sweep = run.sweep()
            if str(sweep.revision) == seen:
                return None
            trial = run.trial(number)
            return {
                "revision": sweep.revision,
                "state": trial.row.state,
                "step": trial.row.step,
                **pages.trial_parts(trial, run.lineage(number), sweep),
            }

        return _changed(await self.reader.ask(request.path_params["name"], asked))

    async def events(self, request: Request) -> Response:
        """Return the events of a run, which do not end."""
        name = request.path_params["name"]
        self.reader.service.run(name)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self.changes.events(name), media_type="text/event-stream", headers=headers)

    # ---- parts

    @property
    def _are_several(self) -> bool:
        return not self.reader.service.single

    async def _reading(self, name: str) -> Response:
        directory = self.reader.service.run(name).directory
        trials = await self.reader.elsewhere(lambda: _count(directory))
        page = pages.reading_page(name, trials, several=self._are_several)
        return HTMLResponse(page, headers={"refresh": "1", "cache-control": "no-store"})

    async def _runs(self) -> tuple[Runs, list[str]]:
        """Return the rows of all runs that were read, and the names of the others."""
        rows, reading, until = [], [], time.monotonic() + RUNS_WAIT_S
        for name in await self.reader.elsewhere(self.reader.service.names):
            try:
                if await self.reader.is_read(name, wait_s=max(0.0, until - time.monotonic())):
                    rows.append(await self.reader.ask(name, OpenRun.row))
                else:
                    reading.append(name)
            except (SweeperError, OSError) as error:
                path = str(self.reader.folder / name)
                rows.append(RunRow(name=name, path=path, state="UNREADABLE", counts={}, problem=str(error)))
        rows.sort(key=lambda row: (-(row.latest or 0.0), row.name))
        return Runs(folder=str(self.reader.folder), runs=rows), reading


def application(reader: Reader, access: Access) -> tuple[Guard, Changes]:
    """Return the application behind its guard, and its events, which have to be closed before the server ends."""
    site = Site(reader)
    refused = {SweeperError: _refused, OSError: _refused, 404: _missing}
    made = Starlette(routes=site.routes(), exception_handlers=refused, lifespan=site_lifespan(site))
    return Guard(_Timed(made), access, entry=pages.entry_page, refused=_forbidden), site.changes


def site_lifespan(site: Site) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    """Return what begins and ends with the server."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with contextlib.suppress(SweeperError):
            if single := site.reader.service.single:
                await site.reader.is_read(single, wait_s=0.0)  # by the time that a browser asks, it may have been read
        yield
        site.changes.close()
        site.reader.close()

    return lifespan


def _state(run: OpenRun, question: Question) -> tuple[Sweep, TrialPage]:
    """Return a sweep, and the page of its table that a question asks for; the last page if there are not so many."""
    sweep, query = run.sweep(), question.query
    if question.brush:
        numbers = brushed(run.view.trials, question.brush)
        kept = [number for number in numbers if not query.numbers or number in query.numbers]
        query = replace(query, numbers=kept or (NO_TRIAL,))
    page = run.trials(query)
    if page.offset >= page.matched > 0:
        page = run.trials(replace(query, offset=(page.matched - 1) // query.limit * query.limit))
    return sweep, page


def _count(run: SweepDir) -> int:
    try:
        return len(os.listdir(run.path / "trials"))  # noqa: PTH208 - ten thousand names, and no paths
    except OSError:
        return 0


def _changed(found: dict[str, Any] | None) -> Response:
    if found is None:
        return Response(status_code=UNCHANGED)
    return JSONResponse(found, headers={"cache-control": "no-store"})


# ---- errors


def _wants_page(request: Request) -> bool:
    return request.headers.get("sec-fetch-dest", "document") == "document" and "/data/" not in request.url.path


async def _refused(request: Request, error: Exception) -> Response:
    status = 500
    if isinstance(error, UsageError):
        status = 404 if any(words in str(error) for words in ABSENT) else 400
    if request.method == "GET" and _wants_page(request):
        title = "This record cannot be read" if isinstance(error, RecordError) else "There is no such page"
        return HTMLResponse(pages.message_page(title, str(error)), status_code=status)
    return JSONResponse({"error": str(error)}, status_code=status)


async def _missing(request: Request, _: Exception) -> Response:
    if not _wants_page(request):
        return JSONResponse({"error": "there is no such page"}, status_code=404)
    return HTMLResponse(pages.message_page("There is no such page", ""), status_code=404)


def _forbidden(request: Asked, reason: str) -> tuple[str, str]:
    if request.method == "GET" and request.headers.get("sec-fetch-dest", "document") == "document":
        return "text/html", pages.refused_page(reason, request.path)
    return "text/plain", reason


@dataclass(frozen=True, slots=True)
class _Timed:
    """Puts the time of an answer into its header `Server-Timing`, which the tools of a browser show.

    `total` is time on the wall, and `cpu` that of all cores, which counts what else the server does meanwhile.
    """

    application: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, before = time.perf_counter(), time.process_time()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                wall, cores = time.perf_counter() - begun, time.process_time() - before
                took = f"total;dur={1000 * wall:.1f}, cpu;dur={1000 * cores:.1f}"
                message["headers"] = [*message["headers"], (b"server-timing", took.encode())]
            await send(message)

        await self.application(scope, receive, timed)
