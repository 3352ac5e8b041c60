"""What strangers send: one process of `attack.py`, a thread for each kind, all from 127.0.0.1, again and again.

    python benchmarks/attack_kinds.py HOST PORT SECONDS [KIND ...]

Prints a line once all that is to be sent is made, and at the end what each kind was answered, as JSON. Each kind
once stopped, filled or fooled the service (docs/serving.md).
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image
from websockets.sync.client import connect

Place = tuple[str, int]
#: One go at the service: the status of its answer, or a word.
Attack = Callable[[Place], int | str]

#: Seconds that an attacker waits for an answer, and holds what can be held.
_WAITS_S, _HOLDS_S = 20.0, 3.0
_PHOTO = Path(__file__).parents[1] / "src" / "mien" / "serving" / "page" / "example.jpg"


def head(path: str, kind: str, *lines: str) -> bytes:
    """The head of a POST."""
    told = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", *lines)
    return "\r\n".join([*told, "", ""]).encode()


def answer_to(place: Place, pieces: Iterable[bytes]) -> tuple[int | str, bytes]:
    """Send; the status of the answer and its first bytes, or why there is none."""
    got = b""
    try:
        with socket.create_connection(place, _WAITS_S) as raw:
            with suppress(ConnectionError):
                for piece in pieces:
                    raw.sendall(piece)
            while b"\r\n\r\n" not in got and (more := raw.recv(10_000)):
                got += more
    except TimeoutError:
        return "silence", got
    except OSError:
        return "hung up", got
    return (int(got[9:12]) if got.startswith(b"HTTP/1.1 ") else "hung up"), got


def post(place: Place, path: str, kind: str, body: bytes) -> int | str:
    sent = head(path, kind, f"Content-Length: {len(body)}", "Connection: close") + body
    return answer_to(place, [sent])[0]


def json_numbers(place: Place) -> int | str:
    return post(
        place, "/v1/recognise", "application/json", b'{"images":[' + b"1," * 1_000_000 + b"1]}"
    )


def json_keys(place: Place) -> int | str:
    body = b"{" + b",".join(b'"%d":1' % number for number in range(150_000)) + b"}"
    return post(place, "/v1/recognise", "application/json", body)


def json_text(place: Place) -> int | str:
    """19 MB of one text: few signs of structure, much to decode."""
    return post(
        place, "/v1/recognise", "application/json", b'{"images":["' + b"A" * 19_000_000 + b'"]}'
    )


def form_parts(place: Place) -> int | str:
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n\r\n'
    body = part * 20_000 + b"--b--\r\n"
    return post(place, "/v1/recognise", "multipart/form-data; boundary=b", body)


def two_lengths(place: Place) -> int | str:
    start = head("/v1/recognise", "image/png", "Content-Length: 0", "Transfer-Encoding: chunked")
    return answer_to(place, [start, b"80000\r\n" + bytes(0x80000) + b"\r\n"])[0]


def announced(place: Place) -> int | str:
    """Heads alone, of 20 MB each."""
    start = head("/v1/recognise", "image/png", "Content-Length: 20000000")
    return _held(place, 40, start)


def connections(place: Place) -> int | str:
    return _held(place, 300, b"")


def _held(place: Place, count: int, sent: bytes) -> int | str:
    refused = 0
    with ExitStack() as stack:
        for _ in range(count):
            try:
                raw = stack.enter_context(socket.create_connection(place, _WAITS_S))
                raw.sendall(sent)
            except OSError:
                refused += 1
        time.sleep(_HOLDS_S)
    return "refused some" if refused else "held"


def crumbs(place: Place) -> int | str:
    start = head("/v1/recognise", "image/png", "Transfer-Encoding: chunked")
    return answer_to(place, [start, *[b"1\r\nx\r\n" * 10_000] * 20])[0]


def slow_head(place: Place) -> int | str:
    def letters() -> Iterator[bytes]:
        for letter in b"GET /healthz HTTP/1.1\r\nX: ":
            yield bytes([letter])
            time.sleep(0.2)
        yield b"y" * 100_000

    return answer_to(place, letters())[0]


def call_fragments(place: Place) -> int | str:
    """A camera's frame in fragments of one byte."""
    return _call(place, lambda call: call.send(b"x" for _ in range(20_000)))


def call_crowd(place: Place) -> int | str:
    """Frames of hundreds of faces."""

    def show(call: object) -> None:
        for _ in range(10):
            call.send(crowd())  # type: ignore[attr-defined]
            time.sleep(0.1)

    return _call(place, show)


def _call(place: Place, act: Callable[[object], object]) -> int | str:
    try:
        with connect(
            f"ws://{place[0]}:{place[1]}/v1/live",
            proxy=None,
            open_timeout=_WAITS_S,
            close_timeout=1,
        ) as call:
            act(call)
            call.recv(timeout=_WAITS_S)
    except TimeoutError:
        return "silence"
    except Exception as error:  # refused or hung up on, as it should be
        return type(error).__name__
    return "answered"


@cache
def crowd() -> bytes:
    """A photo's face, small and many times over."""
    photo = Image.open(_PHOTO).convert("RGB").resize((28, 32))
    return _encoded(np.tile(np.asarray(photo), (20, 23, 1)), "JPEG")


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


@cache
def png(side: int) -> bytes:
    """Black, 16 bits, four channels: hardly a byte on the wire, eight a pixel in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        tail = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + tail

    packer = zlib.compressobj(1)
    rows = [packer.compress(bytes(8 * side + 1)) for _ in range(side)]
    pixels = b"".join([*rows, packer.flush()])
    size = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def large_picture(place: Place) -> int | str:
    return post(place, "/v1/recognise", "image/png", png(3500))


def many_pictures(place: Place) -> int | str:
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    body = (part + _PHOTO.read_bytes() + b"\r\n") * 16 + b"--b--\r\n"
    return post(place, "/v1/recognise?explain=true", "multipart/form-data; boundary=b", body)


def _film(place: Place, content: bytes, query: str = "") -> int | str:
    """Send a film, let the service work on it for a while, take it back."""
    sent = head(f"/v1/video{query}", "video/mp4", f"Content-Length: {len(content)}") + content
    status, told = answer_to(place, [sent])
    if status == 202:
        job = told.lower().partition(b"location: ")[2] and told.partition(b"/v1/jobs/")[2]
        path = b"/v1/jobs/" + job.partition(b"\r\n")[0].partition(b'"')[0]
        time.sleep(_HOLDS_S)
        answer_to(
            place,
            [b"DELETE " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"],
        )
    return status


def _packets(codec: str, container: str, packets: tuple[bytes, ...], side: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=30)
        stream.width = stream.height = side
        stream.pix_fmt = "rgba" if codec == "png" else "yuv420p"
        for number, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base, packet.is_keyframe = Fraction(1, 30), number == 0
            file.mux(packet)
    return out.getvalue()


@cache
def _picture_film() -> bytes:
    return _packets("png", "mov", (png(3500),), 64)


def film_picture(place: Place) -> int | str:
    """A large PNG in a film's place."""
    return _film(place, _picture_film())


@cache
def _vp8(side: int) -> tuple[bytes, bytes]:
    """A key frame, and one that changes nothing."""
    out = io.BytesIO()
    with av.open(out, "w", format="webm") as file:
        stream = file.add_stream("libvpx", rate=30)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.options = {"deadline": "realtime", "auto-alt-ref": "0", "lag-in-frames": "0"}
        frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 60, np.uint8), "rgb24")
        for number in range(3):
            frame.pts = number
            file.mux(stream.encode(frame.reformat(format="yuv420p")))
        file.mux(stream.encode())
    with av.open(io.BytesIO(out.getvalue())) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    return packets[0], packets[1]


@cache
def _hidden() -> bytes:
    key, other = _vp8(1024)
    unseen = bytes([other[0] & ~0x10]) + other[1:]  # the bit that says: show it
    return _packets("libvpx", "matroska", (key, *[unseen] * 20_000), 1024)


def film_hidden(place: Place) -> int | str:
    """Tens of thousands of frames that are not shown."""
    return _film(place, _hidden())


@cache
def _still() -> bytes:
    key, other = _vp8(1024)
    return _packets("libvpx", "matroska", (key, *[other] * 5_000), 1024)


def film_waiting(place: Place) -> int | str:
    """A small film of which nearly every frame is to wait for the next look."""
    return _film(place, _still(), "?every=10000")


def film_playlist(place: Place) -> int | str:
    return _film(place, b"ffconcat version 1.0\n" + b"file upload\n" * 20_000)


def noise(place: Place) -> int | str:
    body = np.random.default_rng().bytes(200_000)
    return post(place, "/v1/recognise", "image/jpeg", b"\xff\xd8\xff" + body)


ATTACKS: tuple[Attack, ...] = (
    json_numbers, json_keys, json_text, form_parts, two_lengths, announced, connections, crumbs, slow_head,
    call_fragments, call_crowd, large_picture, many_pictures, film_picture, film_hidden, film_waiting,
    film_playlist, noise,
)  # fmt: skip
#: What takes seconds to make, and is kept.
_MADE: dict[Attack, Callable[[], object]] = {
    call_crowd: crowd,
    large_picture: lambda: png(3500),
    film_picture: _picture_film,
    film_hidden: _hidden,
    film_waiting: _still,
}


def make(attack: Attack) -> None:
    """Make what a kind sends, which may take longer than sending it."""
    _MADE.get(attack, lambda: None)()


def main() -> None:
    host, port, seconds, *only = sys.argv[1:]
    answers = {attack.__name__: Counter[str]() for attack in ATTACKS}

    def go_on(attack: Attack) -> None:
        while time.monotonic() < end:
            answers[attack.__name__][str(attack((host, int(port))))] += 1
            time.sleep(0.05)

    chosen = [attack for attack in ATTACKS if not only or attack.__name__ in only]
    if unknown := set(only) - answers.keys():
        sys.exit(f"{', '.join(sorted(unknown))}: no such kind; there are {', '.join(answers)}")
    for attack in chosen:
        make(attack)
    print("ready", flush=True)
    end = time.monotonic() + float(seconds)
    threads = [threading.Thread(target=go_on, args=(attack,), daemon=True) for attack in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end + _HOLDS_S - time.monotonic()))
    print(json.dumps(answers), flush=True)
    os._exit(0)  # those that still wait for an answer are let go


if __name__ == "__main__":
    main()
