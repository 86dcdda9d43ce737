"""Serving the page until Ctrl-C, on loopback unless another address was asked for."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from sweeper.errors import ExtraMissing, UsageError

FIRST_PORT, PORTS = 8787, 40
"""The ports that are tried if none was asked for."""
LIBRARIES = ("starlette", "uvicorn", "jinja2", "plotly")
PATIENCE_S = 5
"""How long open requests may take once the server ends."""


def require() -> None:
    """Check that the libraries of the page are installed.

    Raises:
        ExtraMissing: one is not.
    """
    for name in LIBRARIES:
        if name in sys.modules and sys.modules[name] is not None:
            continue
        if name in sys.modules or importlib.util.find_spec(name) is None:
            raise ExtraMissing("sweeper ui", name, "ui")


def serve(
    folder: Path, *, host: str, port: int | None, say: Callable[[str], None], warn: Callable[[str], None]
) -> None:
    """Serve the runs of a folder until a signal ends it.

    Args:
        folder: the folder of runs, or the directory of one.
        host: the address to listen on.
        port: the port; None for the first free one from `FIRST_PORT`, 0 for any.
        say: prints the address of the page.
        warn: prints a warning.

    Raises:
        ExtraMissing: a library is not installed.
        UsageError: the address or the port cannot be used.
    """
    require()
    import uvicorn

    from sweeper.service.access import QUERY_KEY, Access, is_loopback, new_token
    from sweeper.ui.app import application
    from sweeper.ui.reading import Reader

    listening = bound(host, port)
    number = listening.getsockname()[1]
    access = Access(token=new_token(), host=host, cookie=f"sweeper-{number}")
    guarded, changes = application(Reader(folder), access)

    class Server(uvicorn.Server):
        """A server that ends its events first, because it waits for every answer to end."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            changes.close()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        guarded,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=PATIENCE_S,
        server_header=False,
        ws="none",
    )
    if not is_loopback(host):
        warn(
            f"Every machine that can reach {host} and knows the token can read these runs and stop trials, and the "
            f"connection is not encrypted. `ssh -L {number}:127.0.0.1:{number} HOST` needs no --host."
        )
    say(f"http://{_shown(host)}:{number}/?{QUERY_KEY}={access.token}")
    say("Open this address in a browser. Ctrl-C ends the page; the sweeps go on.")
    with listening, contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listening])


def bound(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        UsageError: there is none to be had.
    """
    numbers = [port] if port is not None else [*range(FIRST_PORT, FIRST_PORT + PORTS), 0]
    problem: OSError | None = None
    for number in numbers:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
            made = socket.socket(family, kind)
        except OSError as error:
            raise UsageError(f"--host: expected an address of this machine, got {host!r} ({error.strerror})") from error
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen()
        except OSError as error:
            made.close()
            problem = error
            continue
        return made
    reason = problem.strerror if problem is not None else "no port is left"
    raise UsageError(
        f"expected that port {port} of {host} is free, got: {reason}; take another with --port, or 0 for any free one"
    )


def _shown(host: str) -> str:
    """Return an address as it stands in a URL."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not listened on
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
