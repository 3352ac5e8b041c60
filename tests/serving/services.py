"""Services that really listen: in a thread, with a stand-in for the network, or in a process of their own."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

# What tests of recognition are made of serves here, too.
sys.path.insert(0, str(Path(__file__).parents[1] / "recognise"))

from stand_in import StandIn

from mien.serving.app import create_app
from mien.serving.server import Server, address, listen
from mien.serving.settings import Settings

#: Its line for each request is kept by pytest: of thousands of them that would look like a leak.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Gate(StandIn):
    """A network that does not answer before it is let; the warming up does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Semaphore(0)

    def __call__(self, faces_NCHW: Any) -> Any:
        self.asked.release()
        assert self.open.wait(20)
        return super().__call__(faces_NCHW)


@dataclass
class Running:
    """A service and how to talk to it."""

    url: str
    client: httpx.Client
    model: Any

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        where = httpx.URL(self.url)
        return where.host, where.port or 80

    def connect(self, head: bytes = b"") -> socket.socket:
        """A raw connection, for those who do not behave."""
        made = socket.create_connection(self.place, timeout=20)
        made.sendall(head)
        return made

    def figure(self, name: str) -> float:
        """A line of /metrics."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@contextmanager
def running(
    model: Any = None,
    *,
    loopback: bool = True,
    buffer: int | None = None,
    card: bytes | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Start a service on a free port, and end it as a signal would.

    buffer: bytes of answers that the system keeps for who does not read them.
    """
    model = model or StandIn()
    chosen = Settings(**{"threads": 2, **settings})
    listening = listen("127.0.0.1", 0)
    if buffer is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    url = address(listening)
    started = threading.Event()
    server = Server(create_app(model, chosen, loopback=loopback, card=card), chosen, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        assert started.wait(20)
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            yield Running(url, client, model)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def started(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A `mien serve` in a process of its own, as people start it, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1", **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        (url,) = re.findall(r"served at (http://\S+) ", line) or [line]
        yield process, url
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()
