"""ASGI middleware that protects the service: allowed hosts and origins, API keys, rate limits, headers."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import math
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from mien.serving.problems import Problem
from mien.serving.prometheus import Metrics
from mien.serving.settings import Settings
from mien.serving.shares import Bucket

_log = logging.getLogger("mien.serving")

#: Security headers of every answer: all that the web page needs. Other sites may neither frame nor embed it.
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            "media-src 'self' blob: mediastream:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "font-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
#: Clients whose request rate is remembered; beyond, the one seen longest ago is forgotten.
_MOST_CLIENTS = 10_000
#: Prefix of the WebSocket subprotocol that carries the API key: browsers cannot set other headers there.
_KEY_PROTOCOL = "bearer."
#: The subprotocol that the service selects for clients that offer it beside their key.
PROTOCOL = "mien"


class Outermost:
    """Counts and times requests, adds the headers to every answer, and turns unexpected errors into 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            pass
        except Exception as error:
            # Only the kind and the places are logged: an error's message may quote a picture's content.
            _log.error("unexpected: %s", where_of(error))
            if status:  # the answer has begun: it can only be cut off
                raise ConnectionAbortedError from None
            problem = Problem(500, "the service failed at this request; its log says where")
            await problem.response()(scope, receive, sending)
        finally:
            # The route's template, not the path: ids of jobs in it would make a metric for each job.
            route = getattr(scope.get("route"), "path", "page")
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - began)


def where_of(error: BaseException) -> str:
    """An error's type and the last eight `file:line` of its traceback, without its message."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' < '.join(reversed(places[-8:]))}"


class OnlyOurOwn:
    """Refuses requests for another host (421) and from another site's page (403).

    Any page in a browser can send requests to a service on the same computer, and read the answers if
    it rebinds its own name to that address (DNS rebinding). The headers Host and Origin reveal both.
    """

    def __init__(self, app: ASGIApp, settings: Settings, loopback: bool) -> None:
        self._app = app
        self._hosts = {host.lower() for host in settings.allow_hosts}
        self._origins = set(settings.allow_origins)
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(Headers(scope=scope)) if scope["type"] != "lifespan" else None
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await refuse(fault, scope, receive, send)

    def _fault(self, headers: Headers) -> Problem | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(_name(hosts[0])):
            return Problem(
                421,
                "the header Host: not a name of this service; start it with --allow-host NAME to be "
                "asked by that name",
            )
        for origin in headers.getlist("origin"):
            if origin not in self._origins and origin.partition("://")[2] != hosts[0]:
                return Problem(
                    403,
                    "the header Origin: another site's page; start the service with --allow-origin "
                    "to let it ask",
                )
        return None

    def _is_ours(self, name: str) -> bool:
        """Whether a host is the service's: an allowed name, or an address (no DNS name, so no rebinding).

        A service on loopback takes loopback addresses only.
        """
        if name in self._hosts or name == "localhost":
            return True
        address = _address(name.strip("[]"))
        return address is not None and (address.is_loopback or not self._loopback)


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


class Gate:
    """Checks the API key (401) if keys are set, and the rate of each client (429) if it is limited."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = [_digest(key.encode()) for key in settings.api_keys]
        self._rate = settings.rate
        self._clients: OrderedDict[str, Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = None
        if scope["type"] != "lifespan" and scope["path"].startswith(("/v1/", "/metrics")):
            fault = self._without_key(scope) or self._too_often(HTTPConnection(scope))
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await refuse(fault, scope, receive, send)

    def _without_key(self, scope: Scope) -> Problem | None:
        if not self._keys:
            return None
        given = _digest(_key(scope))
        # Against timing attacks: all keys are compared, as digests of equal length, each in constant time.
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(matches):
            return Problem(
                401,
                "an API key is needed; send it in the header  Authorization: Bearer KEY",
                WWW_Authenticate="Bearer",
            )
        scope.setdefault("state", {})["owner"] = matches.index(True)
        return None

    def _too_often(self, connection: HTTPConnection) -> Problem | None:
        if not self._rate:
            return None
        client = client_of(connection)
        bucket = self._clients.setdefault(client, Bucket(self._rate))
        self._clients.move_to_end(client)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        seconds = bucket.take()
        if not seconds:
            return None
        wait = math.ceil(seconds)
        return Problem(
            429,
            f"more requests than {self._rate:g} a second; come again in {wait} s",
            Retry_After=str(wait),
        )


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _key(scope: Scope) -> bytes:
    """The API key of a request, from its header or WebSocket subprotocol; empty if there is none."""
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip().encode()
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(_KEY_PROTOCOL):
            text = protocol.removeprefix(_KEY_PROTOCOL)
            try:
                return urlsafe_b64decode(text + "=" * (-len(text) % 4))
            except ValueError:
                break
    return b""


def owner(request: HTTPConnection) -> int | None:
    """The position of the request's API key in `Settings.api_keys`; None if no keys are set."""
    number: int | None = request.scope.get("state", {}).get("owner")
    return number


def client_of(request: HTTPConnection) -> str:
    """The client that limits are counted for: its API key, or `network_of` its address if no keys are set."""
    number = owner(request)
    if number is not None:
        return f"key {number}"
    return network_of(request.client.host if request.client else "")


def network_of(address: str) -> str:
    """An IPv4 address as it is; for IPv6 the first address of its /64, as one client may own them all."""
    parsed = _address(address.partition("%")[0])
    if parsed is None or parsed.version == 4:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped or ipaddress.ip_network((parsed, 64), strict=False).network_address)


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a problem; a WebSocket is denied before it is accepted."""
    if scope["type"] == "http":
        await problem.response()(scope, receive, send)
    else:
        await WebSocket(scope, receive, send).send_denial_response(problem.response())


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback, so that only this computer can connect."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
