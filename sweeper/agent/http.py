"""The server over HTTP: on the loopback interface only, with a token, and for no web page.

A page in the user's browser can send requests to 127.0.0.1, and a name that it owns can come to mean that address. So a
request has to name this host (`Host`), may come from no page (`Origin`), and has to carry a token that no page knows.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from sweeper.agent.look import Look
from sweeper.agent.server import AgentServer

LOOPBACK, PATH = "127.0.0.1", "/mcp"
SHORTEST_TOKEN, TOKEN_BYTES = 16, 32

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def serve(look: Look, *, port: int, token: str, say: Callable[[str], None]) -> None:
    """Serve on the loopback interface until the process is interrupted.

    Args:
        look: the tools.
        port: the port; 0 for any.
        token: what a request has to carry.
        say: receives the address, once requests are taken.
    """
    with socket.create_server((LOOPBACK, port)) as listener:
        bound = listener.getsockname()[1]
        app = guarded(
            AgentServer(look).streamable_http_app(transport_security=hosts_of(bound)), port=bound, token=token
        )
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", server_header=False)
        say(f"http://{LOOPBACK}:{bound}{PATH}")
        try:
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            look.closing.set()


def hosts_of(port: int) -> TransportSecuritySettings:
    """Return the SDK's own checks of `Host` and `Origin`, which stand behind those of `guarded`."""
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=sorted(_hosts(port)), allowed_origins=[]
    )


def guarded(app: App, *, port: int, token: str) -> App:
    """Return an application that answers only requests to this host, from no web page, with the token.

    Args:
        app: the application.
        port: the port that it listens on.
        token: the token, as `Authorization: Bearer TOKEN`.
    """
    hosts, expected = _hosts(port), f"Bearer {token}".encode()

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        found = {
            name: [value for key, value in headers if key == name] for name in (b"host", b"origin", b"authorization")
        }
        if [host.decode("latin-1").lower() for host in found[b"host"]] not in [[host] for host in hosts]:
            await _refuse(send, 421, "expected a request to 127.0.0.1, by that name")
        elif found[b"origin"]:
            await _refuse(send, 403, "requests of web pages are refused")
        elif len(found[b"authorization"]) != 1 or not hmac.compare_digest(found[b"authorization"][0], expected):
            await _refuse(
                send, 401, "expected the token that `sweeper mcp --http` printed, as `Authorization: Bearer TOKEN`"
            )
        else:
            await app(scope, receive, send)

    return guard


def _hosts(port: int) -> frozenset[str]:
    return frozenset({f"{LOOPBACK}:{port}", f"localhost:{port}"})


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    if status == 401:  # noqa: PLR2004 - the status of HTTP
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
