"""Running the service: uvicorn, one process, drained at the end."""

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


#: Files that a service has open besides its connections.
_OTHER_FILES = 64


def _room_for(connections: int) -> int:
    """How many connections the system lets this process have, of so many, after asking it for more."""
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
    """Serves an application until SIGINT, SIGTERM or SIGHUP; what was accepted by then is answered first.

    started: called once requests are answered.
    """

    def __init__(self, app: FastAPI, settings: Settings, started: Callable[[], None]) -> None:
        for name in ("uvicorn", "python_multipart"):  # their words may be of what was sent
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        http, websocket = protocols(settings.timeout_s, _room_for(settings.max_connections))
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

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear SIGHUP as well, which a terminal sends that is closed; unless nohup has it ignored."""
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
