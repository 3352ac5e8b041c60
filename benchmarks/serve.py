"""How much of what the recogniser can do is left when it is asked over HTTP?

    python benchmarks/serve.py [--photo FILE] [--seconds 10] [--rounds 3] [--soak MINUTES] [--json FILE]

Starts `mien serve`, and measures in turns, in the same run:

- photos a second of the recogniser in this process and of the service; ready faces a second of the
  bare classifier, the recogniser and the service. Clients are raw sockets with requests made
  beforehand, on the same cores: what they take is the service's loss. And the processors' time that
  each costs, clients included: that tells the same where other programs run beside.
- the time of the emptiest request, and of one 720p photo, alone and while others keep the service
  busy: p50 and p99.
- ten times as many clients as the line takes pictures: who is accepted and how long that takes, and
  what the others are told; the process's memory.
- a soak: requests of every kind, bad ones too, and the process's memory from minute to minute.

Take nothing else on the machine for it.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from mien.recognise.model import FaceModel
from mien.recognise.naming import packaged_model
from mien.recognise.recognizer import Recognizer
from mien.serving.settings import Settings

#: Ready faces of a request; photos come one by one, as people send them.
FACES = 16
CLIENTS = 8


@dataclass
class Load:
    """What clients saw: the times of what was answered with 200, in seconds, and all statuses."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wall_s: float = 0.0

    def rate(self) -> float:
        """Answers of 200 a second."""
        return len(self.seconds) / self.wall_s

    def told(self) -> dict[str, Any]:
        """Plain values."""
        p50, p99 = np.percentile(self.seconds or [0], [50, 99]) * 1000
        return {
            "a_second": round(self.rate(), 1),
            "p50_ms": round(p50, 1),
            "p99_ms": round(p99, 1),
            "statuses": {str(status): count for status, count in self.statuses.items()},
        }


@dataclass
class Service:
    """A service in a process of its own."""

    host: str
    port: int
    process: psutil.Process

    def memory(self) -> float:
        """MB that are its own."""
        return float(self.process.memory_info().rss / 1e6)


@contextmanager
def service(*options: str) -> Iterator[Service]:
    """`mien serve` on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        host, port = re.findall(r"http://([^:]+):(\d+) ", process.stderr.readline())[0]
        yield Service(host, int(port), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(90)


def request(path: str, kind: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(connection: socket.socket, sent: bytes) -> int:
    """Send a request, read its answer to the end; the status."""
    connection.sendall(sent)
    read = bytearray()
    while b"\r\n\r\n" not in read:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionError("hung up")
        read += piece
    head, _, body = bytes(read).partition(b"\r\n\r\n")
    (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
    left = int(length) - len(body)
    while left > 0:
        left -= len(connection.recv(65_536))
    return int(head[9:12])


def load(where: Service, sent: list[bytes], clients: int, seconds: float) -> Load:
    """Clients that ask without a pause."""
    total = Load()
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        turn = number
        connection = socket.create_connection((where.host, where.port))
        while (began := time.monotonic()) < end:
            try:
                status = ask(connection, sent[turn % len(sent)])
            except OSError:
                status = 0
            turn += 1
            total.statuses[status] += 1
            if status == 200:
                total.seconds.append(time.monotonic() - began)
            elif status == 0 or status == 503:
                connection.close()
                time.sleep(0.05)
                connection = socket.create_connection((where.host, where.port))
        connection.close()

    began = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total.wall_s = time.monotonic() - began
    return total


@dataclass
class Turn:
    """How many were done in a time, and what that cost all processors, clients included."""

    done: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """A second."""
        return self.done / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """Of processors' time for each."""
        return 1000 * self.cpu_s / self.done


def timed(work: Callable[[], int], where: Service | None = None) -> Turn:
    """What some work does and costs, here and in the service."""

    def spent() -> float:
        others = where.process.cpu_times() if where else None
        return time.process_time() + (others.user + others.system if others else 0)

    cpu, began = spent(), time.monotonic()
    done = work()
    return Turn(done, time.monotonic() - began, spent() - cpu)


def repeated(work: Callable[[], int], seconds: float) -> int:
    """Do it for a time; how many were done."""
    end = time.monotonic() + seconds
    done = work()
    while time.monotonic() < end:
        done += work()
    return done


def ready_faces(photo: bytes) -> list[bytes]:
    """A face, cut out, a little different each time; 48 x 48 as PNG."""
    (face,) = Recognizer().recognize(photo)
    x, y, width, height = face.box
    made = []
    for step in range(FACES):
        crop = Image.open(io.BytesIO(photo)).convert("L")
        crop = crop.crop((int(x) - step, int(y), int(x + width), int(y + height))).resize((48, 48))
        out = io.BytesIO()
        crop.save(out, "PNG")
        made.append(out.getvalue())
    return made


def throughput(where: Service, photo: bytes, seconds: float, rounds: int) -> dict[str, Any]:
    """In turns: the recogniser here, the service there."""
    recognizer = Recognizer()
    model = FaceModel.open(packaged_model())
    one_thread = FaceModel.open(packaged_model(), threads=1)
    ready = Recognizer(model, detector="none")
    faces = ready_faces(photo)
    crops_NCHW = np.concatenate([ready.look(face).crops for face in faces * 4])
    texts = {"images": [base64.b64encode(face).decode() for face in faces]}
    as_json = request("/v1/recognise?detector=none", "application/json", json.dumps(texts).encode())
    one_photo = request("/v1/recognise", "image/jpeg", photo)

    def served(sent: bytes) -> int:
        return len(load(where, [sent], CLIENTS, seconds).seconds)

    turns: dict[str, Callable[[], Turn]] = {
        "photos, recogniser": lambda: timed(
            lambda: repeated(lambda: len(recognizer.recognize([photo] * CLIENTS)), seconds)
        ),
        "photos, service": lambda: timed(lambda: served(one_photo), where),
        "faces, bare classifier": lambda: timed(
            lambda: repeated(lambda: len(model(crops_NCHW)), seconds)
        ),
        "faces, bare classifier, one thread": lambda: timed(
            lambda: repeated(lambda: len(one_thread(crops_NCHW)), seconds)
        ),
        "faces, recogniser": lambda: timed(
            lambda: repeated(lambda: len(ready.recognize(faces)), seconds)
        ),
        "faces, service": lambda: timed(lambda: FACES * served(as_json), where),
    }
    measured: dict[str, list[Turn]] = {}
    for _ in range(rounds):
        for name, turn in turns.items():
            measured.setdefault(name, []).append(turn())
            last = measured[name][-1]
            print(f"{name}: {last.rate:.1f} a second, {last.cpu_ms:.3f} ms of CPU", flush=True)
    rates = {name: np.mean([turn.rate for turn in all_]) for name, all_ in measured.items()}
    costs = {name: np.mean([turn.cpu_ms for turn in all_]) for name, all_ in measured.items()}

    def shares(service: str, other: str) -> dict[str, float]:
        return {
            "by the clock": round(float(rates[service] / rates[other]), 3),
            "by CPU time": round(float(costs[other] / costs[service]), 3),
        }

    return {
        "a_second": {
            name: [round(turn.rate, 1) for turn in all_] for name, all_ in measured.items()
        },
        "cpu_ms": {
            name: [round(turn.cpu_ms, 3) for turn in all_] for name, all_ in measured.items()
        },
        "photos": shares("photos, service", "photos, recogniser"),
        "faces": shares("faces, service", "faces, bare classifier"),
    }


def latency(where: Service, photo: bytes, seconds: float) -> dict[str, Any]:
    """The emptiest request, and one 720p photo, alone and among others."""
    out = io.BytesIO()
    large = Image.open(io.BytesIO(photo)).convert("RGB")
    canvas = Image.new("RGB", (1280, 720), (90, 100, 110))
    canvas.paste(large, (380, 60))
    canvas.save(out, "JPEG", quality=90)
    sent = [request("/v1/recognise", "image/jpeg", out.getvalue())]
    empty = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    return {
        "/healthz": load(where, empty, 1, seconds).told(),
        "alone": load(where, sent, 1, seconds).told(),
        "with 3 others": load(where, sent, 4, seconds).told(),
        "with 15 others": load(where, sent, 16, seconds).told(),
    }


def overload(where: Service, photo: bytes, seconds: float) -> dict[str, Any]:
    """Ten times as many clients as there are places in the line, twice."""
    places = Settings().max_waiting
    sent = [request("/v1/recognise", "image/jpeg", photo)]
    load(where, sent, CLIENTS, seconds / 2)
    memory = [where.memory()]
    told = {}
    for _ in range(2):
        told = load(where, sent, 10 * places, seconds).told()
        memory.append(where.memory())
    return {
        "places": places,
        "clients": 10 * places,
        **told,
        "memory_mb": [round(value) for value in memory],
    }


def soak(where: Service, photo: bytes, minutes: float) -> dict[str, Any]:
    """Requests of every kind for a long time; memory from step to step."""
    faces = ready_faces(photo)
    texts = {"images": [base64.b64encode(face).decode() for face in faces]}
    sent = [
        request("/v1/recognise", "image/jpeg", photo),
        request("/v1/recognise?detector=none", "application/json", json.dumps(texts).encode()),
        request("/v1/recognise", "image/png", faces[0][:100]),
        request("/v1/recognise", "image/jpeg", photo[:9000]),
        request("/v1/recognise", "application/json", b'{"images": [1]}'),
        request("/v1/recognise?top=9", "image/png", b""),
        request("/v1/nothing", "text/plain", b"x"),
    ]
    load(where, sent, CLIENTS, 20)  # what grows once has grown
    memory = [where.memory()]
    statuses: Counter[int] = Counter()
    for _ in range(10):
        statuses += load(where, sent, CLIENTS, 6 * minutes).statuses
        memory.append(where.memory())
        print(f"{statuses.total():,} requests, {memory[-1]:.1f} MB", flush=True)
    return {
        "requests": statuses.total(),
        "statuses": {str(status): count for status, count in statuses.items()},
        "memory_mb": [round(value, 1) for value in memory],
        "grown_mb": round(memory[-1] - memory[0], 1),
    }


def shipped_photo() -> Path:
    """Grace Hopper, 512 x 600 pixels, public domain: it ships inside matplotlib."""
    package = importlib.util.find_spec("matplotlib")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photo", type=Path, default=shipped_photo())
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES")
    parser.add_argument("--only", default="throughput,latency,overload,soak")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    photo, seconds = chosen.photo.read_bytes(), chosen.seconds
    only = chosen.only.split(",")
    told: dict[str, Any] = {"cores": psutil.cpu_count()}
    with service() as where:
        if "throughput" in only:
            told["throughput"] = throughput(where, photo, seconds, chosen.rounds)
        if "latency" in only:
            told["latency"] = latency(where, photo, seconds)
        if "overload" in only:
            told["overload"] = overload(where, photo, 2 * seconds)
    if "soak" in only and chosen.soak:
        with service() as where:
            told["soak"] = soak(where, photo, chosen.soak)
    print(json.dumps(told, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
