"""Who may speak to the dashboard's server, and what a browser may do with its answers.

A page on another site can send requests to a server on this machine and, by pointing its own name here (DNS
rebinding), read the answers. So a request has to name this server as its Host, and a browser's Origin must be the same.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
EVERYWHERE = ("0.0.0.0", "::")  # addresses that bind all of a machine's own
HOST_HEADER = re.compile(r"(\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(:[0-9]{1,5})?")
INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",  # frame-ancestors, for what does not know it
}


class Guard:
    """ASGI middleware that refuses foreign hosts and origins and sends the security headers with every answer."""

    def __init__(self, app: ASGIApp, *, names: Collection[str], any_address: bool, policy: str) -> None:
        self.app = app
        self.names = names
        self.any_address = any_address
        self.policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS | {"Content-Security-Policy": self.policy})
            await send(message)

        if not self._known(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                told = f"This dashboard answers to {' and '.join(sorted(self.names))} only.\n"
                await PlainTextResponse(told, status_code=403)(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _known(self, headers: Headers) -> bool:
        """Whether a request is for this server, and sent by its own pages or by no page at all."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or len(origins) > 1:
            return False
        name = host_name(hosts[0])
        # No site can make a browser believe that its name is a bare address: those are safe from rebinding.
        if name is None or not (name in self.names or (self.any_address and is_address(name))):
            return False
        return not origins or urlsplit(origins[0]).netloc.lower() == hosts[0].lower()


def names_of(host: str) -> frozenset[str]:
    """The names that a server bound to `host` is called by; where it binds all addresses, those of this machine."""
    own = {socket.gethostname().lower()} if host in EVERYWHERE else {host.lower()}
    return LOCAL | own


def host_name(header: str) -> str | None:
    """The name in a Host header in lower case, without port, brackets and final dot; None where it is malformed.

    >>> host_name("LocalHost:8501"), host_name("[::1]:8501"), host_name("evil@localhost")
    ('localhost', '::1', None)
    """
    found = HOST_HEADER.fullmatch(header.lower())
    return None if found is None else found["address"] or found["name"].removesuffix(".")


def is_address(name: str) -> bool:
    """Whether a host is named by its IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def content_policy(page: str) -> str:
    """The Content-Security-Policy for an HTML page whose own inline scripts may run, and no others.

    Nothing is fetched from, sent to or framed by another site. Streamlit's style sheets are made in the browser
    (style-src), its components are modules in blobs, and WebGL charts compile their drawing commands (script-src).
    """
    digests = [hashlib.sha256(script.encode()).digest() for script in INLINE_SCRIPT.findall(page)]
    inline = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", "blob:", "'unsafe-eval'", *inline],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{rule} {' '.join(sources)}" for rule, sources in rules.items())
