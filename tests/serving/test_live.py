"""Cameras: the newest frame is answered for, late ones are dropped, floods end."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from stand_in import StandIn
from talk import PHOTO, check_problem, picture
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State
from websockets.sync.client import connect

from mien.recognise.recognizer import Recognizer
from mien.recognise.track import FaceTracker


@contextmanager
def camera(service, query="", **options):
    host, port = service.place
    there = socket.create_connection((host, port))
    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    address = f"ws://{options.pop('host', host)}:{port}/v1/live{query}"
    with connect(address, sock=there, **options) as opened:
        yield opened


def answer(call):
    return json.loads(call.recv(timeout=20))


def refusal(service, query="", **options):
    with pytest.raises(InvalidStatus) as error, camera(service, query, **options):
        pass
    response = error.value.response
    assert response.headers["content-type"] == "application/problem+json"
    told = json.loads(response.body)
    check_problem(told, response.status_code)
    return told


def test_a_face_is_followed_and_smoothed(service):
    (expected,) = Recognizer(StandIn()).recognize(PHOTO)
    with camera(service) as call:
        for frame in (1, 2, 3):
            call.send(PHOTO)
            told = answer(call)

            assert (told["frame"], told["dropped"]) == (frame, 0)
            assert (told["width"], told["height"]) == (512, 600)
            assert told["milliseconds"] > 0
            (face,) = told["faces"]
            assert face["track_id"] == 1
            assert face["raw"] == expected.probabilities
            assert face["probabilities"] == pytest.approx(expected.probabilities)
            assert {name: face[name] for name in ("box", "expression")} == {
                name: expected.to_dict()[name] for name in ("box", "expression")
            }


def test_probabilities_come_slowly_after_a_change(service):
    with camera(service, "?detector=none") as call:
        call.send(picture(level=10))
        answer(call)
        time.sleep(0.05)
        upside_down = Recognizer(StandIn(), detector="none").recognize(PHOTO)[0].probabilities
        call.send(PHOTO)
        (face,) = answer(call)["faces"]
    assert face["raw"] == upside_down
    if face["track_id"] == 1:
        assert face["probabilities"] != face["raw"]


def test_top_and_a_bad_frame(service):
    with camera(service, "?detector=none&top=2") as call:
        call.send(picture())
        assert len(answer(call)["faces"][0]["probabilities"]) == 2
        for bad, status in ((b"no picture", 415), (b"", 422), (picture()[:50], 422), ("text", 422)):
            call.send(bad)
            check_problem(answer(call)["problem"], status)
        call.send(picture())
        told = answer(call)
    assert told["frame"] == 6
    assert told["faces"]


def test_late_frames_are_dropped(serve, gate):
    service = serve(gate)
    with camera(service, "?detector=none") as call:
        gate.asked.acquire(timeout=10)  # the warming up
        gate.open.clear()
        call.send(picture(level=0))
        assert gate.asked.acquire(timeout=10)
        for level in range(10, 160, 10):
            call.send(picture(level=level))
        end = time.monotonic() + 10
        while service.figure('mien_live_frames_total{outcome="dropped"}') < 14:
            assert time.monotonic() < end
        gate.open.set()
        first, last = answer(call), answer(call)
        with pytest.raises(TimeoutError):
            call.recv(timeout=0.3)

    assert first["frame"] == 1
    assert (last["frame"], last["dropped"]) == (16, 14)
    (newest,) = Recognizer(StandIn(), detector="none").recognize(picture(level=150))
    assert last["faces"][0]["raw"] == newest.probabilities
    assert service.figure("mien_waiting_pictures") == 0


def test_a_flood_ends_the_call(serve):
    service = serve(max_frames_per_s=20)
    with camera(service, "?detector=none") as call, pytest.raises(ConnectionClosed) as closed:
        for _ in range(2000):
            call.send(picture())
        while True:
            call.recv(timeout=10)
    assert closed.value.rcvd.code == 1008
    assert "more frames than 20 a second" in closed.value.rcvd.reason
    assert service.figure("mien_live{") + service.figure("mien_live ") == 0


def test_a_frame_too_large_ends_the_call(serve):
    service = serve(max_frame=1000)
    with camera(service) as call, pytest.raises(ConnectionClosed) as closed:
        call.send(bytes(2000))
        call.recv(timeout=10)
    assert closed.value.rcvd.code == 1009
    assert service.client.get("/healthz").status_code == 200


def test_a_frame_too_large_in_parts_ends_the_call_before_the_last(serve):
    with camera(serve(max_frame=10_000)) as call:

        def parts():
            yield from [bytes(3000)] * 4
            # The last part waits for the close: a client that still writes then may lose its code.
            end = time.monotonic() + 20
            while call.protocol.state is State.OPEN and time.monotonic() < end:
                time.sleep(0.01)
            yield bytes(1)

        with pytest.raises(ConnectionClosed) as closed:
            call.send(parts())
        assert closed.value.rcvd.code == 1009


def test_silence_ends_the_call(serve):
    service = serve(idle_s=0.3)
    with camera(service) as call, pytest.raises(ConnectionClosed) as closed:
        call.recv(timeout=10)
    assert closed.value.rcvd.code == 1008


def test_cameras_are_counted(serve):
    service = serve(max_live=1)
    with camera(service) as call:
        assert refusal(service)["status"] == 503
        call.send(PHOTO)
        assert answer(call)["faces"]
    end = time.monotonic() + 10
    while service.figure("mien_live "):
        assert time.monotonic() < end
    with camera(service) as call:
        call.send(PHOTO)
        assert answer(call)["faces"]


def test_refusals_before_the_call(service):
    assert "query top" in refusal(service, "?top=9")["detail"]
    assert "not known" in refusal(service, "?camera=1")["detail"]
    assert refusal(service, origin="https://evil.example")["status"] == 403
    assert refusal(service, host="evil.example")["status"] == 421


def test_a_key_comes_as_a_header_or_as_a_subprotocol(serve):
    key = "a-key-of-some-length"
    service = serve(api_keys=(key,))
    coded = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")

    assert refusal(service)["status"] == 401
    assert refusal(service, subprotocols=["mien", "bearer.!!"])["status"] == 401
    with camera(service, additional_headers={"Authorization": f"Bearer {key}"}) as call:
        assert call.subprotocol is None
    with camera(service, subprotocols=["mien", f"bearer.{coded}"]) as call:
        assert call.subprotocol == "mien"
        call.send(PHOTO)
        assert answer(call)["faces"]


def test_who_hangs_up_leaves_nothing_behind(serve, gate):
    service = serve(gate)
    with camera(service, "?detector=none") as call:
        gate.asked.acquire(timeout=10)
        gate.open.clear()
        call.send(picture())
        assert gate.asked.acquire(timeout=10)
    gate.open.set()
    end = time.monotonic() + 10
    while service.figure("mien_live ") or service.figure("mien_waiting_pictures"):
        assert time.monotonic() < end


class Talkative(StandIn):
    """Tells so many expressions apart that an answer has hundreds of kilobytes."""

    def __init__(self):
        super().__init__()
        names = tuple(f"{number:060}" for number in range(2000))
        self.card = replace(self.card, expressions=names)

    def __call__(self, faces_NCHW):
        return np.full((len(faces_NCHW), 2000), 1 / 2000, np.float32)


def test_who_does_not_read_the_answers_is_hung_up_on(serve):
    service = serve(Talkative(), timeout_s=0.5, idle_s=100, buffer=4096)
    with camera(service, "?detector=none", max_queue=1) as call:
        end = time.monotonic() + 20
        for _ in range(10):
            call.send(picture())
        while service.figure("mien_live "):
            assert time.monotonic() < end


def test_a_crowd_is_followed_off_the_event_loop(service, monkeypatch):
    """484 faces kept it for 0.8 s: /healthz has to be answered while they are followed."""
    following, go_on = threading.Event(), threading.Event()
    update = FaceTracker.update

    def slow(self, *arguments):
        following.set()
        assert go_on.wait(20)
        return update(self, *arguments)

    monkeypatch.setattr(FaceTracker, "update", slow)
    with camera(service) as call:
        call.send(PHOTO)
        assert following.wait(20)
        assert service.client.get("/healthz").status_code == 200
        go_on.set()
        assert len(answer(call)["faces"]) == 1
