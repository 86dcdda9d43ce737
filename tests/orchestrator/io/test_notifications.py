"""A webhook counts as told only if its own address has accepted the text."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.config import Happening, Notify
from sweeper.orchestrator.io.notifications import MOST_LOG_BYTES, Notifier
from sweeper.record.storage.layout import SweepDir

PATIENCE_S = 30.0


class Recording(http.server.BaseHTTPRequestHandler):
    """Answers `/307` with that status and a redirect to `/elsewhere`, and everything else with 200."""

    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = int(self.path[1:]) if self.path[1:].isdecimal() else 200
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Recording,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def troubles_of(folder: Path, url: str) -> list[str]:
    return told(folder, Notify(webhook=url, timeout_s=10))


def told(folder: Path, notify: Notify) -> list[str]:
    """Send a notification; return the failures."""
    notifier = Notifier(SweepDir(folder), "s", notify)
    notifier.send(Happening.END, "done")
    until = time.monotonic() + PATIENCE_S
    while not notifier.is_idle() and time.monotonic() < until:
        time.sleep(0.01)
    return list(notifier.troubles())


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_counts_as_not_told(
    tmp_path: Path, server: tuple[str, list[str]], status: int
) -> None:
    url, asked = server
    why = f"notify: the webhook failed: HTTP status {status}, a redirect, which is not followed"
    assert troubles_of(tmp_path, f"{url}/{status}") == [why]
    assert asked == [f"POST /{status}"]


def test_an_accepted_text_is_told(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, asked = server
    assert troubles_of(tmp_path, f"{url}/hook") == []
    assert asked == ["POST /hook"]


def test_the_log_of_commands_is_started_anew_once_it_is_large(tmp_path: Path) -> None:
    log, notify = SweepDir(tmp_path).notify_log, Notify(command=["echo", "sent"], timeout_s=10)
    log.write_bytes(b"x" * MOST_LOG_BYTES)
    assert told(tmp_path, notify) == []
    assert log.read_bytes().endswith(b"xsent\n")
    assert told(tmp_path, notify) == []
    assert log.read_bytes() == b"sent\n"
