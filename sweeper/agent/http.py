"""The server over HTTP: on the loopback interface only, with a token, and for no web page.

A page in the user's browser can send requests to 127.0.0.1, and a name that it owns can come to mean that address. So
it stands behind the same guard as the page of `sweeper ui`, but answers no browser at all.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from sweeper.agent.look import Look
from sweeper.agent.server import AgentServer
from sweeper.service.access import Access, Guard

LOOPBACK, PATH = "127.0.0.1", "/mcp"
SHORTEST_TOKEN = 16


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
        tools = AgentServer(look).streamable_http_app(transport_security=hosts_of(bound))
        guarded = Guard(tools, Access(token=token, host=LOOPBACK, cookie=""))
        config = uvicorn.Config(guarded, log_level="warning", access_log=False, lifespan="on", server_header=False)
        say(f"http://{LOOPBACK}:{bound}{PATH}")
        try:
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            look.closing.set()


def hosts_of(port: int) -> TransportSecuritySettings:
    """Return the SDK's own checks of `Host` and `Origin`, which stand behind the guard."""
    hosts = [f"{LOOPBACK}:{port}", f"localhost:{port}"]
    return TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=[])
