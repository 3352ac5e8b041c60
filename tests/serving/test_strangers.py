"""Harm that was once done to the service: each now refused at little cost, and others go on."""

from __future__ import annotations

import inspect
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import uvicorn
from services import Running
from talk import PHOTO, picture, post
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.sync.client import connect as camera

from mien.serving import uploads
from mien.serving.guard import network_of
from mien.serving.problems import Problem
from mien.serving.shares import Shares

HEAD = b"POST /v1/recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def answer_to(service: Running, sent: bytes, address: str = "127.0.0.1") -> bytes:
    """All that comes back; what hangs up on us while we still send has said all it wanted to."""
    got = b""
    with socket.create_connection(service.place, 20, (address, 0)) as raw:
        with suppress(OSError):
            raw.sendall(sent)
        with suppress(OSError):
            while piece := raw.recv(10_000):
                got += piece
    return got


@pytest.mark.parametrize(
    "body",
    [
        b'{"images":[' + b"1," * 1_000_000 + b"1]}",
        b'{"images":[' + b'"",' * 1_000_000 + b'""]}',
        b"{" + b",".join(b'"%d":1' % number for number in range(200_000)) + b"}",
        b'{"images":' + b"[" * 1_000_000,
        b"[" + b"{}," * 1_000_000 + b"{}]",
    ],
    ids=["numbers", "texts", "keys", "depth", "objects"],
)
def test_json_of_millions_of_parts_is_refused_before_it_is_parsed(body, monkeypatch):
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("parsed"))
    with pytest.raises(Problem) as refused:
        uploads.pictures("application/json", bytearray(body), 64)
    assert refused.value.status == 422
    assert "more than 64 pictures" in refused.value.detail


def test_json_with_as_many_pictures_as_may_be_and_all_its_freedoms_is_read():
    texts = ["YWJj", "YW\\/j", "YW\\u004aj"] + ["YWJj"] * 61
    body = '{ "im\\u0061ges" :\n[ ' + " ,\t".join(f'"{text}"' for text in texts) + " ] }"
    found = uploads.pictures("application/json", bytearray(body.encode()), 64)
    assert [one.content for one in found[:3]] == [b"abc", b"ao\xe3", b"abc"]
    assert len(found) == 64


@pytest.mark.parametrize("order", [1, -1])
def test_a_body_with_two_lengths_is_refused(service, order):
    lengths = [b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"][::order]
    answer = answer_to(service, HEAD + b"".join(lengths) + b"\r\n5\r\nhello\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_a_body_in_crumbs_is_refused(service):
    body = b"1\r\nx\r\n" * 100_000
    answer = answer_to(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 400 ") or answer == b""  # it may hang up before we read
    assert service.client.get("/healthz").status_code == 200


def test_a_body_in_fair_pieces_is_read(service):
    def pieces():
        for start in range(0, len(PHOTO), 1000):
            yield PHOTO[start : start + 1000]

    assert post(service.client, pieces(), "image/jpeg").status_code == 200


def test_a_call_in_crumbs_is_hung_up_on(service):
    from websockets.exceptions import ConnectionClosed

    def crumbs():
        for _ in range(10_000):
            yield b"x"

    with (
        camera(f"ws{service.url[4:]}/v1/live", proxy=None, close_timeout=1) as call,
        pytest.raises(ConnectionClosed),
    ):
        call.send(crumbs())
        call.recv(timeout=10)
    assert service.client.get("/healthz").status_code == 200


def test_heads_alone_hold_nothing(service):
    """Ten of them used to take all the room there is, and a new ten every 30 seconds kept it."""
    announced = [service.connect(HEAD + b"Content-Length: 20000000\r\n\r\n") for _ in range(40)]
    try:
        assert post(service.client, picture()).status_code == 200
    finally:
        for raw in announced:
            raw.close()


def test_who_fills_his_half_leaves_the_other_half_to_others(serve):
    service = serve(max_body=1000, max_held=4000)
    held = [service.connect(HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(999)) for _ in range(2)]
    try:
        end = time.monotonic() + 10
        while post(service.client, bytes(1000)).status_code != 503:
            assert time.monotonic() < end
        body = b"Connection: close\r\nContent-Length: 900\r\n\r\n" + bytes(900)
        answer = answer_to(service, HEAD + body, "127.0.0.2")
        assert answer.startswith(b"HTTP/1.1 415 ")  # it was read, and looked at
    finally:
        for raw in held:
            raw.close()


def test_connections_are_counted_and_given_back(serve):
    service = serve(max_connections=8)
    assert service.client.get("/healthz").status_code == 200  # one, which stays
    held = [service.connect() for _ in range(6)]
    try:
        time.sleep(0.2)
        with service.connect() as refused:
            answer = refused.recv(1000)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer
        other = answer_to(
            service, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "127.0.0.2",
        )  # fmt: skip
        assert other.startswith(b"HTTP/1.1 200 ")
    finally:
        for raw in held:
            raw.close()
    end = time.monotonic() + 10
    while not answer_to(service, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(
        b"HTTP/1.1 200"
    ):
        assert time.monotonic() < end


def test_shares():
    shares = Shares(10, "too much; come again", each=6)
    with shares.taken("a", 4) as take:
        take(2)
        with pytest.raises(Problem, match="too much"):
            take(1)
        assert not shares.has("a")
        with shares.taken("b", 4):
            assert shares.full
            assert not shares.has("c")
        assert shares.has("b", 4)
    assert shares.total == 0
    assert shares.has("a", 6)


def test_a_client_of_ipv6_is_a_network():
    assert network_of("2001:db8:1:2:aaaa::1") == network_of("2001:db8:1:2:ffff::9")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:10.0.0.7") == "10.0.0.7"
    assert network_of("10.0.0.7") == "10.0.0.7"
    assert network_of("fe80::1%eth0") == network_of("fe80::2")


def test_uvicorns_classes_have_the_shape_that_ours_are_built_on():
    """A new version is let in by pyproject.toml after this and the tests around it pass with it."""
    shapes = {
        H11Protocol: {
            "connection_made": ["self", "transport"],
            "data_received": ["self", "data"],
            "connection_lost": ["self", "exc"],
            "handle_websocket_upgrade": ["self", "event"],
            "send_400_response": ["self", "msg"],
            "timeout_keep_alive_handler": ["self"],
            "shutdown": ["self"],
            "pause_writing": ["self"],
            "resume_writing": ["self"],
        },
        WebSocketsSansIOProtocol: {
            "data_received": ["self", "data"],
            "handle_cont": ["self", "event"],
            "handle_bytes": ["self", "event"],
            "handle_ping": ["self"],
            "handle_pong": ["self", "event"],
            "pause_writing": ["self"],
            "resume_writing": ["self"],
        },
        uvicorn.Server: {"capture_signals": ["self"], "handle_exit": ["self", "sig", "frame"]},
    }
    for kind, methods in shapes.items():
        for name, parameters in methods.items():
            assert list(inspect.signature(getattr(kind, name)).parameters) == parameters, name
    made = inspect.getsource(H11Protocol)
    for used in ("self.conn = h11.Connection(", "self.conn.next_event()", "conn=self.conn"):
        assert used in made
    for used in ("more_body", "response_started", "response_complete"):
        assert used in inspect.getsource(inspect.getmodule(H11Protocol))
    bounds = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(r'"uvicorn>=[\d.]+,<[\d.]+"', bounds)


def test_many_small_requests_at_once_from_one_address_still_get_answers(service):
    with ThreadPoolExecutor(16) as pool:
        statuses = list(
            pool.map(lambda _: post(service.client, picture(), query="?detector=none"), range(64))
        )
    assert {one.status_code for one in statuses} == {200}
