"""Running the service: uvicorn, one process, drained at the end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from mien.errors import InputError, one_line
from mien.serving.settings import Settings


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; InputError where that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OverflowError:
        raise InputError(f"port {port}: give 0 to 65535") from None
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot listen there ({one_line(error)}); choose another --port or --host"
        ) from error


def run(
    app: FastAPI, settings: Settings, listening: socket.socket, started: Callable[[], None]
) -> None:
    """Serve until a signal ends it; what was accepted by then is answered first.

    started: called once requests are answered.
    """
    for name in ("uvicorn", "python_multipart"):  # their words may be of what was sent
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    config = uvicorn.Config(
        app,
        ws_max_size=settings.max_frame,
        ws_per_message_deflate=False,  # pictures are compressed already, and bombs are not wanted
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=round(2 * settings.timeout_s) + 5,
    )
    _Server(config, started).run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._told()


def address(listening: socket.socket) -> str:
    """What to type into a browser to get there from this computer."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 (asked about, not listened at)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
