"""HTTP and WebSocket as uvicorn speaks them, with what strangers must not be able to do taken out.

pyproject.toml bounds uvicorn's version, for its classes are inherited from here; a test looks at their shape.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mien.serving.guard import network_of
from mien.serving.problems import MEDIA_TYPE, Problem, busy

#: Bytes of a request's head.
_MAX_HEAD = 65_536
#: A body in pieces that are smaller on average costs more time to take apart than to read: so many may be.
_FREE_PIECES, _PIECE = 100, 512
#: Bytes of a WebSocket that are taken apart before anybody looks at how many frames they were.
_AT_ONCE = 16_384
#: Seconds that a body may still take to arrive once the service is asked to end.
_LAST_CALL_S = 2.0


class _Connection(h11.Connection):
    """Refuses what is HTTP, but only ever sent to do harm."""

    _pieces = _bytes = 0

    def next_event(self) -> Any:
        """As h11 says it; RemoteProtocolError for more."""
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
                raise h11.RemoteProtocolError("a body in crumbs")
        return event


class _Places:
    """How many connections there are: one address has half of them at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def take(self, transport: asyncio.Transport) -> str | None:
        """The client that has one more; None where there is no place."""
        peer = transport.get_extra_info("peername")
        client = network_of(peer[0]) if isinstance(peer, tuple) else ""
        if self._open.total() >= self._most or 2 * self._open[client] >= self._most:
            return None
        self._open[client] += 1
        return client

    def give_back(self, client: str) -> None:
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


def protocols(
    patience_s: float, connections: int
) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """HTTP and WebSocket, in which no peer is waited for without end.

    uvicorn's own limit is for the time between requests: it ends with the first byte of a head. And
    a connection that it closes stays while there is something in it that nobody reads.

    Args:
        patience_s: for a head to arrive, and for what was sent to be read.
        connections: that may be open.
    """
    places = _Places(connections)

    class Read:
        """Who does not read what was sent is hung up on."""

        transport: asyncio.Transport
        _unread: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()  # type: ignore[misc]
            loop = asyncio.get_running_loop()
            self._unread = loop.call_later(patience_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()  # type: ignore[misc]
            if self._unread is not None:
                self._unread.cancel()

    class Http(Read, H11Protocol):
        """And who does not finish the head of a request."""

        _late: asyncio.TimerHandle | None = None
        _place: str | None = None

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.conn = _Connection(h11.SERVER, _MAX_HEAD)

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._place = places.take(transport)
            if self._place is None:
                self._refuse(busy("too many connections are open; close some, or come later"))
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._leave()
            super().connection_lost(exc)
            self._watch()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self.loop.call_later(patience_s, self.transport.abort)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._leave()  # cameras are counted where they are answered
            super().handle_websocket_upgrade(event)

        def send_400_response(self, msg: str) -> None:
            self._refuse(
                Problem(
                    400, "the request: no HTTP that is taken here; leave it to your HTTP library"
                )
            )

        def shutdown(self) -> None:
            super().shutdown()
            if self.cycle is not None and not self.cycle.response_complete:
                self.loop.call_later(_LAST_CALL_S, self._end_of_call, self.cycle)

        def _end_of_call(self, cycle: Any) -> None:
            """Who still sends was not accepted."""
            if cycle.more_body and not cycle.response_started:
                self.transport.abort()

        def _refuse(self, problem: Problem) -> None:
            """Answer before a route does, and hang up; without a word where an answer has begun."""
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

        def _leave(self) -> None:
            if self._place is not None:
                places.give_back(self._place)
                self._place = None

        def _watch(self) -> None:
            """Time runs while a head is awaited on what is still our connection."""
            ours = not self.transport.is_closing() and self.transport.get_protocol() is self
            if ours and (self.cycle is None or self.cycle.response_complete):
                if self._late is None:
                    self._late = self.loop.call_later(patience_s, self.transport.abort)
            elif self._late is not None:
                self._late.cancel()
                self._late = None

    class WebSocket(Read, WebSocketsSansIOProtocol):
        """And who sends in crumbs: fragments and pings cost more than the bytes in them."""

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

    return Http, WebSocket
