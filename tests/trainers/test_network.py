"""Downloads: what comes arrives, what does not come is given up on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sweeper.errors import DataUnavailable
from sweeper.trainers.data.network import ANSWER_S, Absent, TotalTimeout, fetch, probe

CONTENT = bytes(range(256)) * 1000


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(308)
            self.send_header("Location", "/file")
            self.end_headers()
        elif self.path == "/file":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)
        elif self.path == "/torn":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
        elif self.path == "/empty":
            self.send_response(200)
            self.end_headers()
        else:
            self.send_error(500 if self.path == "/broken" else 404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name it overrides
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """A proxy that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_file_is_downloaded_completely_and_across_redirects(server: str) -> None:
    assert fetch(f"{server}/file", TotalTimeout()) == CONTENT
    assert fetch(f"{server}/moved", TotalTimeout()) == CONTENT
    assert fetch(f"{server}/empty", TotalTimeout()) == b""
    probe(f"{server}/file", TotalTimeout())


def test_a_missing_file_on_the_server_is_absent(server: str) -> None:
    with pytest.raises(Absent):
        fetch(f"{server}/nothing", TotalTimeout())


def test_a_download_that_is_cut_short_is_refused(server: str) -> None:
    with pytest.raises(DataUnavailable, match="IncompleteRead"):
        fetch(f"{server}/torn", TotalTimeout())


def test_a_refusal_is_reported_with_its_reason(server: str) -> None:
    with pytest.raises(DataUnavailable, match="500 Internal Server Error"):
        probe(f"{server}/broken", TotalTimeout())


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(DataUnavailable, match="refused"):
        probe(f"http://127.0.0.1:{port}/", TotalTimeout())


def test_patience_ends_over_all_that_was_asked(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", silent)
    timeout = TotalTimeout(left_s=0.5)
    with pytest.raises(DataUnavailable, match=r"no answer from an\.example within 0\.5 s"):
        probe("https://an.example/file", timeout)
    with pytest.raises(DataUnavailable, match=r"another\.example was skipped"):
        probe("https://another.example/file", timeout)


def test_a_name_that_is_never_resolved_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    monkeypatch.setenv("no_proxy", "*")
    started = time.monotonic()
    with pytest.raises(DataUnavailable, match="no answer"):
        probe("https://an.example/file", TotalTimeout())
    assert time.monotonic() - started < 2 * ANSWER_S
    released.set()


def test_time_spent_in_vain_is_taken_off() -> None:
    times = iter([0.0, 1.0, 10.0, 12.0, 20.0])
    timeout = TotalTimeout(left_s=4.0, clock=lambda: next(times))
    with timeout.waiting() as limit:
        assert limit == ANSWER_S
    assert timeout.left_s == 4.0  # an answer came: nothing was in vain
    next(times)
    with pytest.raises(DataUnavailable), timeout.waiting():
        raise DataUnavailable("no answer")
    assert timeout.left_s == 2.0
    with timeout.waiting() as limit:
        assert limit == 2.0
