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

from mien.errors import InputError, one_line
from mien.serving.settings import Settings


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; InputError where that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot listen there ({one_line(error)}); choose another --port or --host"
        ) from error


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
        super().__init__(
            uvicorn.Config(
                app,
                http=_protocol(settings.timeout_s),
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


def _protocol(patience_s: float) -> type[asyncio.Protocol]:
    """HTTP as uvicorn speaks it, but who does not finish a request's head in time is hung up on.

    uvicorn's own limit is for connections between requests, and ends with the first byte.
    """

    class Patient(H11Protocol):
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

        def _watch(self) -> None:
            """Time runs while a head is awaited on what is still our connection."""
            ours = not self.transport.is_closing() and self.transport.get_protocol() is self
            if ours and (self.cycle is None or self.cycle.response_complete):
                if self._late is None:
                    self._late = self.loop.call_later(patience_s, self.transport.close)
            elif self._late is not None:
                self._late.cancel()
                self._late = None

    return Patient
