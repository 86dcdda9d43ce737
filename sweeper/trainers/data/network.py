"""Downloads that give way quickly: without a network, a sweep starts within seconds all the same.

A name look-up cannot be interrupted. So the request runs in a daemon thread, and the caller waits for it no longer than
its timeout lasts. Proxies are those of the environment (`urllib` reads them).
"""

from __future__ import annotations

import http
import http.client
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sweeper.errors import DataUnavailable

ANSWER_S = 3.0
"""How long one server has for its first byte, and for each further piece."""
TOTAL_S = 4.0
"""How long a command waits in vain, over all that it asks for; what it does instead has the rest of 10 s."""
PIECE = 1 << 16
LARGEST = 64 << 20


Arriving = queue.SimpleQueue[bytes | Exception]


class Absent(DataUnavailable):
    """The server answers that it has no such file."""


@dataclass(slots=True)
class TotalTimeout:
    """What is left of the time that may be spent in vain."""

    left_s: float = TOTAL_S
    clock: Callable[[], float] = field(default=time.monotonic)

    @contextmanager
    def waiting(self) -> Iterator[float]:
        """Yield how many seconds to wait at most; the time is taken off if it was in vain."""
        started = self.clock()
        try:
            yield min(ANSWER_S, self.left_s)
        except DataUnavailable:
            self.left_s = max(0.0, self.left_s - (self.clock() - started))
            raise


def probe(url: str, timeout: TotalTimeout) -> None:
    """Return when a server answers for this URL.

    Raises:
        DataUnavailable: it refuses, cannot be reached, or stays silent.
    """
    _first(url, timeout, pieces=1)


def fetch(url: str, timeout: TotalTimeout) -> bytes:
    """The content behind a URL, held in memory.

    Raises:
        DataUnavailable: as for `probe`; or the download stops, or is larger than 64 MiB.
    """
    piece, pieces = _first(url, timeout, pieces=LARGEST)
    content = bytearray()
    while piece:
        content += piece
        if len(content) > LARGEST:
            raise DataUnavailable(f"{url} is larger than expected, {LARGEST >> 20} MiB")
        piece = _next(url, pieces, ANSWER_S)
    return bytes(content)


def _first(url: str, timeout: TotalTimeout, *, pieces: int) -> tuple[bytes, Arriving]:
    """The first piece, and where the others arrive, `pieces` of them at most."""
    arriving: Arriving = queue.SimpleQueue()
    with timeout.waiting() as limit_s:
        if limit_s <= 0:
            raise DataUnavailable(f"{_host(url)} was not asked: the network has not answered before")
        threading.Thread(target=_request, args=(url, arriving, pieces), daemon=True).start()
        return _next(url, arriving, limit_s), arriving


def _next(url: str, arriving: Arriving, limit_s: float) -> bytes:
    try:
        piece = arriving.get(timeout=limit_s)
    except queue.Empty:
        raise DataUnavailable(f"no answer from {_host(url)} within {limit_s:.1f} s") from None
    if isinstance(piece, urllib.error.HTTPError) and piece.code == http.HTTPStatus.NOT_FOUND:
        raise Absent(f"{_host(url)} has no {urllib.parse.urlparse(url).path}") from piece
    if isinstance(piece, Exception):
        raise DataUnavailable(f"{_host(url)}: {_reason(piece)}") from piece
    return piece


def _request(url: str, arriving: Arriving, pieces: int) -> None:
    """Put each piece of the answer as it comes, then an empty one; or the error that came instead."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "sweeper"})  # noqa: S310  # https, or what the user set
        # `urlopen` would keep to the proxies that it met first.
        with urllib.request.build_opener().open(request, timeout=ANSWER_S) as answer:
            for _ in range(pieces):
                piece = answer.read1(PIECE)
                if not piece and answer.length:
                    raise http.client.IncompleteRead(piece, answer.length)
                arriving.put(piece)
                if not piece:
                    break
    except (OSError, http.client.HTTPException, ValueError) as error:
        arriving.put(error)


def _host(url: str) -> str:
    return urllib.parse.urlparse(url).netloc or url


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
