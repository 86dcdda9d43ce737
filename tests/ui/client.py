"""A client of the page's application in this process, and a run to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.service.access import Access
from sweeper.ui.app import application
from sweeper.ui.reading import Reader
from tests.views.report.test_report import spec
from tests.views.synthetic import DECISION, Script, make_trial, play

TOKEN = "a-token"  # noqa: S105 - of the test
HOST = "127.0.0.1:8787"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`\u202e{{7*7}}"
OWN = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}


@dataclass(frozen=True, slots=True)
class Client:
    """Asks as a browser that has entered does, unless other headers are given."""

    inner: httpx.AsyncClient
    runner: asyncio.Runner

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        given = {"host": HOST, "cookie": f"sweeper={TOKEN}"} if headers is None else dict(headers)
        while True:
            asked = self.inner.request(method, f"http://{HOST}{path}", headers=given, **more)
            answer = self.runner.run(asked)
            if "refresh" not in answer.headers:  # of the page that waits for the first reading
                return answer

    def send(self, name: str, **command: object) -> httpx.Response:
        headers = {"host": HOST, "cookie": f"sweeper={TOKEN}", **OWN}
        return self.ask(f"/runs/{name}/commands", "POST", headers, json=command)


@contextmanager
def client_of(folder: Path, *, host: str = "127.0.0.1") -> Iterator[Client]:
    reader = Reader(folder)
    guarded, changes = application(reader, Access(token=TOKEN, host=host))
    with asyncio.Runner() as runner:
        inner = httpx.AsyncClient(transport=httpx.ASGITransport(app=guarded))
        yield Client(inner, runner)
        runner.run(inner.aclose())
        changes.close()
        reader.close()


def make_run(runs: Path, name: str = "s", *, trials: int = 6, **changes: Any) -> SweepDir:
    """A sweep of so many trials: one was stopped early, one failed, the others completed."""
    run = SweepDir(runs / name)
    run.path.mkdir(parents=True)
    write_json(run.spec, {"format": 1, "name": name, "spec": spec(**changes).to_json()})
    for number in range(trials):
        shown = {"lr": [3e-4, 6e-4][number % 2], "warmup_fraction": [0.1, 0.7, 0.9][number % 3]}
        script = Script(until=640)
        if number == 2:
            script = Script(until=131, stalled=True, outcome="stopped", decision=DECISION)
        elif number == 3:
            script = Script(until=200, outcome="failed", exit_code=1)
        play(make_trial(run, number, params=shown, shown=shown), script)
    return run


def hostile_run(runs: Path, name: str = "s") -> SweepDir:
    """A sweep of eight trials, with hostile text in every place that users and scripts can write to."""
    run = make_run(runs, name, description=HOSTILE)
    shown = {"lr": HOSTILE, HOSTILE: 0.1}
    stopped = {**DECISION, "reason": HOSTILE, "evidence": {HOSTILE: HOSTILE}}
    trial = make_trial(run, 6, params=shown, shown=shown, metric=HOSTILE, command=[HOSTILE])
    play(trial, Script(until=131, stalled=True, outcome="stopped", decision=stopped))
    trial.attempt(1).output.write_text(HOSTILE)
    failed = make_trial(run, 7, params=shown, shown=shown, metric=HOSTILE)
    play(failed, Script(until=100, outcome="failed", exit_code=1))
    return run
