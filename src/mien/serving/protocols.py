"""uvicorn's HTTP and WebSocket protocols, hardened against slow, idle and hostile clients.

These classes inherit from uvicorn's, so pyproject.toml bounds its version; a test checks the inherited methods.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mien.serving.guard import network_of
from mien.serving.problems import MEDIA_TYPE, Problem
from mien.serving.shares import Shares

#: Most bytes of a request's head.
_MAX_HEAD = 65_536
#: Pieces of a body (chunks, or WebSocket frames): the first 100 are free, beyond they have 512 bytes on average,
#: since parsing smaller ones costs more time than reading them.
_FREE_PIECES, _PIECE = 100, 512
#: Bytes of a WebSocket that are parsed between two checks of the number of frames.
_AT_ONCE = 16_384
#: Seconds that a body may still take to arrive after the service is asked to stop.
_LAST_CALL_S = 2.0


class _Connection(h11.Connection):
    """Also refuses requests that are valid HTTP but that only attackers send."""

    _pieces = _bytes = 0

    def next_event(self) -> Any:
        """h11's next event.

        Raises:
            RemoteProtocolError: as h11 does; also for two body lengths (request smuggling) and for a body in
                tiny chunks.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("a body with two lengths")
        elif isinstance(event, h11.Data):
            self._pieces += event.chunk_start
            self._bytes += len(event.data)
            if self._pieces > _FREE_PIECES + self._bytes / _PIECE:
                raise h11.RemoteProtocolError("a body in tiny chunks")
        return event


class _Read:
    """Closes the connection of a client that does not read its answer in time."""

    #: Of all connections of a service, set by `protocols`.
    patience_s: float
    places: Shares
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        loop = asyncio.get_running_loop()
        self._unread = loop.call_later(self.patience_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()  # type: ignore[misc]
        if self._unread is not None:
            self._unread.cancel()


class _Http(_Read, H11Protocol):
    """Also closes it if the head of a request does not arrive in time."""

    _late: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _Connection(h11.SERVER, _MAX_HEAD)
        self._place = ExitStack()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        client = network_of(peer[0]) if isinstance(peer, tuple) else ""
        try:
            self._place.enter_context(self.places.taken(client, 1))
        except Problem as problem:
            self._refuse(problem)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._place.close()
        super().connection_lost(exc)
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.patience_s, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._place.close()  # cameras have their own limit: `Settings.max_live`
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(400, "the request: not valid HTTP; let an HTTP library write it"))

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete:
            self.loop.call_later(_LAST_CALL_S, self._end_of_call, self.cycle)

    def _end_of_call(self, cycle: Any) -> None:
        """Close the connection if its body is still arriving: such a request was not accepted."""
        if cycle.more_body and not cycle.response_started:
            self.transport.abort()

    def _refuse(self, problem: Problem) -> None:
        """Answer without a route and close; if an answer has begun already, only close."""
        content = json.dumps(problem.to_dict()).encode()
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(content))}
        headers |= {"Connection": "close"} | problem.headers
        try:
            for event in (
                h11.Response(status_code=problem.status, headers=list(headers.items())),
                h11.Data(data=content),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            self.transport.abort()
        self.transport.close()

    def _watch(self) -> None:
        """Run the timer of a request's head: started while one is awaited, cancelled otherwise."""
        ours = not self.transport.is_closing() and self.transport.get_protocol() is self
        if ours and (self.cycle is None or self.cycle.response_complete):
            if self._late is None:
                self._late = self.loop.call_later(self.patience_s, self.transport.abort)
        elif self._late is not None:
            self._late.cancel()
            self._late = None


class _WebSocket(_Read, WebSocketsSansIOProtocol):
    """Also closes it if a client sends tiny fragments or pings: they cost more than their bytes."""

    _pieces = _bytes = 0

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _AT_ONCE):
            if self.transport.is_closing():
                return
            part = data[start : start + _AT_ONCE]
            self._bytes += len(part)
            super().data_received(part)
            if self._pieces > _FREE_PIECES + self._bytes / _PIECE:
                self.transport.abort()

    def handle_cont(self, event: Any) -> None:
        self._pieces += 1
        super().handle_cont(event)

    def handle_ping(self) -> None:
        self._pieces += 1
        super().handle_ping()

    def handle_pong(self, event: Any) -> None:
        self._pieces += 1
        super().handle_pong(event)

    def handle_bytes(self, event: Any) -> None:
        self._pieces += 1
        super().handle_bytes(event)


def protocols(
    patience_s: float, connections: int
) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """HTTP and WebSocket protocol classes for uvicorn that wait for no client without a limit.

    uvicorn's own timeout covers the time between requests only: it ends with the first byte of a head.
    And a connection that it closes stays open as long as the client does not read the last answer.

    Args:
        patience_s: seconds for a request's head to arrive, and for the client to read an answer.
        connections: that may be open at the same time.

    Returns:
        The HTTP class and the WebSocket class.
    """
    places = Shares(connections, "too many connections are open; close some, or come later")
    settings = {"patience_s": patience_s, "places": places}
    return type("Http", (_Http,), settings), type("WebSocket", (_WebSocket,), settings)
