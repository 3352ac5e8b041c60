"""Running the service with uvicorn in one process; accepted requests are answered before it ends."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from mien.errors import InputError, one_line
from mien.serving.protocols import protocols
from mien.serving.settings import Settings


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket; port 0 takes any free port.

    Raises:
        InputError: the address is unknown, in use or not permitted.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot listen there ({one_line(error)}); choose another --port or --host"
        ) from error
    # Accepted connections inherit this. asyncio sets it on the sockets that it creates, but not on this one; without
    # it the last part of an answer waits up to 40 ms for the peer's delayed ACK (Nagle's algorithm).
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address(listening: socket.socket) -> str:
    """The URL of a listening socket, for a browser on this computer."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 (asked about, not listened at)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


#: File descriptors of a service beyond those of its connections.
_OTHER_FILES = 64


def _room_for(connections: int) -> int:
    """Raise the process's limit of open files if needed; returns how many connections fit, at most those asked for."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - _OTHER_FILES)
    return connections


class Server(uvicorn.Server):
    """Serves an application until SIGINT, SIGTERM or SIGHUP, and then answers the accepted requests.

    Args:
        app: the application.
        settings: its limits.
        started: called without arguments once the service answers requests.
    """

    def __init__(self, app: FastAPI, settings: Settings, started: Callable[[], None]) -> None:
        for name in ("uvicorn", "python_multipart"):  # their messages may quote a request's content
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        http, websocket = protocols(settings.timeout_s, _room_for(settings.max_connections))
        super().__init__(
            uvicorn.Config(
                app,
                http=http,
                ws=websocket,
                ws_max_size=settings.max_frame,
                ws_per_message_deflate=False,  # pictures are compressed already; no zip bombs
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # any client can forge X-Forwarded-For, and so escape its limits
                server_header=False,
                # One timeout for a request to arrive, one for its answer, and a reserve.
                timeout_graceful_shutdown=round(2 * settings.timeout_s) + 5,
            )
        )
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, then call `started`."""
        await super().startup(sockets)
        if self.started:
            self._told()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Also stop on SIGHUP, which a closing terminal sends, unless it is ignored (nohup)."""
        number = getattr(signal, "SIGHUP", None)
        with super().capture_signals():
            if (
                number is None
                or threading.current_thread() is not threading.main_thread()
                or signal.getsignal(number) is signal.SIG_IGN
            ):
                yield
                return
            before = signal.signal(number, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(number, before)
