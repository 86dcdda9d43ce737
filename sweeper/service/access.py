"""Who may use a local server: a token, the names of its host, and requests from its own pages only.

The page and the tools for agents both stand behind `Guard`. It is plain ASGI and needs the standard library alone.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import cookies
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
TOKEN_BYTES = 32
QUERY_KEY = "token"
SAFE_METHODS = ("GET", "HEAD")
MISDIRECTED, FORBIDDEN, UNAUTHORIZED = 421, 403, 401

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No script and no stylesheet within a page, and nothing from another server. The library of charts sets attributes
`style` of what it draws; it also tries to add the styles of its maps, which is refused."""
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""The headers of every answer."""


def new_token() -> str:
    """Return a random token that cannot be guessed."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a request has to bring.

    Attributes:
        token: the token, in the query (`?token=`), as a bearer token, or in the cookie.
        host: the address that the server listens on.
        cookie: the name of the cookie. Servers on several ports of a host share their cookies, so it names the port.
            Empty for a server without pages: then no request of a browser is answered, whatever it brings.
    """

    token: str
    host: str = "127.0.0.1"
    cookie: str = "sweeper"

    @property
    def has_pages(self) -> bool:
        """Return whether a browser may be answered."""
        return bool(self.cookie)

    def knows_host(self, header: str) -> bool:
        """Return whether the header `Host` names this server: a page of another name was rebound to its address.

        An address cannot be rebound, so any address is accepted unless the server listens on loopback. The port may
        differ, as it does behind `ssh -L`.
        """
        name = _host_name(header)
        if name in LOOPBACK_NAMES or name == self.host.lower():
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in (socket.gethostname().lower(), socket.getfqdn().lower())
        return True

    def knows_token(self, token: str) -> bool:
        """Return whether this is the token; the time that it takes does not depend on where they differ."""
        return hmac.compare_digest(token.encode(errors="replace"), self.token.encode())


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that decide whether it is answered."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @classmethod
    def of(cls, scope: Scope) -> Request:
        """Return the request of an ASGI scope."""
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        return cls(scope["method"], scope["path"], query, headers)

    @property
    def is_safe(self) -> bool:
        """Return whether the request changes nothing."""
        return self.method in SAFE_METHODS

    def bearer(self) -> str:
        """Return the token in the header `Authorization`; empty without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def cookie(self, name: str) -> str:
        """Return the value of a cookie; empty without it."""
        try:
            found = cookies.SimpleCookie(self.headers.get("cookie", "")).get(name)
        except cookies.CookieError:
            return ""
        return found.value if found is not None else ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered.

    Attributes:
        status: the status of the answer.
        reason: a sentence that says what to do.
    """

    status: int
    reason: str


def refusal(request: Request, access: Access) -> Refusal | None:
    """Return why a request is refused; None if it is answered.

    The order matters: a request for another host, or from another site, learns nothing about the token.
    """
    host = request.headers.get("host", "")
    if not access.knows_host(host):
        reason = "This address is not one of this server. Open the address that was printed when the server started."
        return Refusal(MISDIRECTED, reason)
    if not access.has_pages and "origin" in request.headers:
        return Refusal(FORBIDDEN, "Requests of web pages are refused here.")
    if _is_foreign(request, host):
        return Refusal(FORBIDDEN, "This request comes from another site, and is refused.")
    if access.knows_token(request.bearer()):
        return None
    if not access.has_pages:
        reason = "Expected the token that was printed when the server started, as `Authorization: Bearer TOKEN`."
        return Refusal(UNAUTHORIZED, reason)
    if not access.knows_token(request.cookie(access.cookie)):
        return Refusal(
            UNAUTHORIZED, "This page needs the token. Open the address that was printed when the server started."
        )
    if not request.is_safe and request.headers.get("origin") != f"http://{host}":
        return Refusal(FORBIDDEN, "This request does not come from a page of this server, and is refused.")
    return None


def _is_foreign(request: Request, host: str) -> bool:
    """Return whether a browser says that another site, or another port of this host, has sent the request."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return True
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site in ("same-origin", "none"):
        return False
    follows_link = request.headers.get("sec-fetch-mode") == "navigate" and request.is_safe
    return not (follows_link and request.headers.get("sec-fetch-dest") == "document")


@dataclass(frozen=True, slots=True)
class Guard:
    """An ASGI application that passes on what it lets in, and puts `HEADERS` on every answer.

    Attributes:
        application: what it guards.
        access: what a request has to bring.
        entry: makes the page that takes a browser from the address with the token to the one without, from that
            address; None if there are no pages.
        refused: makes the answer to a refused request from the reason: its type and its body.
    """

    application: Application
    access: Access
    entry: Callable[[str], str] | None = None
    refused: Callable[[Request, str], tuple[str, str]] = field(default=lambda _, reason: ("text/plain", f"{reason}\n"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":  # no part of sweeper uses websockets
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        request = Request.of(scope)
        if self._enters(request):
            await self._enter(request, with_headers)
        elif (refused := refusal(request, self.access)) is not None:
            kind, body = self.refused(request, refused.reason)
            more = {"www-authenticate": "Bearer"} if refused.status == UNAUTHORIZED else None
            await _answer(with_headers, refused.status, kind, body, more)
        else:
            await self.application(scope, receive, with_headers)

    def _enters(self, request: Request) -> bool:
        """Return whether a browser opens the address with the token."""
        host = request.headers.get("host", "")
        if self.entry is None or not request.is_safe or not self.access.knows_host(host) or _is_foreign(request, host):
            return False
        return self.access.knows_token(request.query.get(QUERY_KEY, ""))

    async def _enter(self, request: Request, send: Send) -> None:
        assert self.entry is not None  # noqa: S101 - see _enters
        rest = urlencode({key: value for key, value in request.query.items() if key != QUERY_KEY})
        path = local(request.path)
        cookie = f"{self.access.cookie}={self.access.token}; Path=/; HttpOnly; SameSite=Strict"
        # A redirect would lose the cookie after a click on another site, because it is still that site's request.
        body = self.entry(f"{path}?{rest}" if rest else path)
        await _answer(send, 200, "text/html", body, {"set-cookie": cookie, "cache-control": "no-store"})


async def _answer(send: Send, status: int, kind: str, body: str, more: Mapping[str, str] | None = None) -> None:
    content = body.encode()
    headers = {"content-type": f"{kind}; charset=utf-8", "content-length": str(len(content)), **(more or {})}
    lines = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": content})


def local(path: str) -> str:
    """Return a path as an address of this server: `//name` would be another server."""
    return quote("/" + path.lstrip("/\\"))


def _host_name(header: str) -> str:
    """Return the name or address in a header `Host`, without its port."""
    text = header.strip().lower()
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address if not port or port.startswith(":") else text
    return text.rpartition(":")[0] if text.count(":") == 1 else text
