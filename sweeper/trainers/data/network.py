"""Download with short timeouts, so that a sweep starts within seconds even without a network.

A DNS look-up cannot be interrupted. Therefore a request runs in a daemon thread, for which the caller waits only until
the timeout. `urllib` reads proxies from the environment.
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
"""Maximum wait for the first bytes of an answer, and for each further piece."""
TOTAL_S = 4.0
"""Maximum wait for servers that do not answer, over all requests of a command. It has to start within 10 s."""
PIECE = 1 << 16
LARGEST = 64 << 20


Arriving = queue.SimpleQueue[bytes | Exception]


class Absent(DataUnavailable):
    """The server has no such file."""


@dataclass(slots=True)
class TotalTimeout:
    """The time that a command may still wait for servers that do not answer.

    Attributes:
        left_s: the remaining seconds.
        clock: returns the time in seconds.
    """

    left_s: float = TOTAL_S
    clock: Callable[[], float] = field(default=time.monotonic)

    @contextmanager
    def waiting(self) -> Iterator[float]:
        """Yield the maximum wait in seconds. If the block raises DataUnavailable, its time is subtracted."""
        started = self.clock()
        try:
            yield min(ANSWER_S, self.left_s)
        except DataUnavailable:
            self.left_s = max(0.0, self.left_s - (self.clock() - started))
            raise


def probe(url: str, timeout: TotalTimeout) -> None:
    """Return once a server answers for this URL.

    Raises:
        DataUnavailable: the server refuses, cannot be reached, or does not answer in time.
    """
    _first(url, timeout, pieces=1)


def fetch(url: str, timeout: TotalTimeout) -> bytes:
    """Download a URL into memory.

    Raises:
        DataUnavailable: as for `probe`, or the download stalls or is larger than 64 MiB.
    """
    piece, pieces = _first(url, timeout, pieces=LARGEST)
    content = bytearray()
    while piece:
        content += piece
        if len(content) > LARGEST:
            raise DataUnavailable(f"{url} is larger than the allowed {LARGEST >> 20} MiB")
        piece = _next(url, pieces, ANSWER_S)
    return bytes(content)


def _first(url: str, timeout: TotalTimeout, *, pieces: int) -> tuple[bytes, Arriving]:
    """Request a URL; return the first piece, and the queue of the following ones, of at most `pieces` in all."""
    arriving: Arriving = queue.SimpleQueue()
    with timeout.waiting() as limit_s:
        if limit_s <= 0:
            raise DataUnavailable(f"{_host(url)} was skipped, because the network did not answer earlier requests")
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
    """Put the pieces of the answer into the queue, then an empty one. An error is put into the queue too."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "sweeper"})  # noqa: S310  # https, or what the user set
        # `urlopen` would keep using the proxies of its first call.
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
