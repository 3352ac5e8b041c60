"""Running the service: uvicorn, one process, drained at the end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mien.errors import InputError, one_line
from mien.serving.settings import Settings


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; InputError where that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot listen there ({one_line(error)}); choose another --port or --host"
        ) from error
    # Connections inherit it. asyncio would set it for each, but not on sockets of `create_server`; without it the
    # end of an answer waits 40 ms for the peer to confirm its beginning.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address(listening: socket.socket) -> str:
    """What to type into a browser on this computer to get there."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 (asked about, not listened at)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Serves an application until SIGINT or SIGTERM; what was accepted by then is answered first.

    started: called once requests are answered.
    """

    def __init__(self, app: FastAPI, settings: Settings, started: Callable[[], None]) -> None:
        for name in ("uvicorn", "python_multipart"):  # their words may be of what was sent
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        http, websocket = _protocols(settings.timeout_s)
        super().__init__(
            uvicorn.Config(
                app,
                http=http,
                ws=websocket,
                ws_max_size=settings.max_frame,
                ws_per_message_deflate=False,  # pictures are compressed already; bombs are not wanted
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=round(2 * settings.timeout_s) + 5,
            )
        )
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._told()


def _protocols(patience_s: float) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """HTTP and WebSocket as uvicorn speaks them, but no peer is waited for without end.

    uvicorn's own limit is for the time between requests: it ends with the first byte of a head. And
    a connection that it closes stays while there is something in it that nobody reads.
    """

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

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._watch()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self.loop.call_later(patience_s, self.transport.abort)

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
        pass

    return Http, WebSocket
