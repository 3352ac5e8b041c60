"""What strangers send by mistake or on purpose: each a status, a sentence, and a service that goes on."""

from __future__ import annotations

import io
import time
import zlib

import pytest
from PIL import Image
from talk import PHOTO, base64_of, files, picture, post, problem

MB = 1_000_000


def bomb(side: int) -> bytes:
    """A PNG of many megapixels in less than a megabyte."""
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    assert len(out.getvalue()) < MB
    return out.getvalue()


def text_bomb() -> bytes:
    """A small PNG with a text that unpacks to 100 MB."""
    small = picture()
    packed = zlib.compress(b"a" * (100 * MB))
    chunk = b"zTXt" + b"k\x00\x00" + packed
    made = len(chunk[4:]).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    return small[:33] + made + small[33:]


JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
BAD = {
    "no type": (None, picture(), 415, "without a Content-Type"),
    "text": ("text/plain", picture(), 415, "text/plain"),
    "a form of another kind": ("application/x-www-form-urlencoded", b"images=a", 415, "send a pic"),
    "empty": ("image/png", b"", 422, "is empty"),
    "no picture": ("image/png", b"hello, I am a picture", 415, "is none of JPEG"),
    "a page": ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "none of JPEG"),
    "truncated": ("image/jpeg", PHOTO[:9000], 422, "cannot be decoded"),
    "the head alone": ("image/png", picture()[:20], 422, "cannot be decoded"),
    "a bomb": ("image/png", bomb(6000), 422, "the limit is 25 megapixels"),
    "a larger bomb": ("image/png", bomb(20_000), 422, "absurdly large"),
    "a bomb of text": ("image/png", text_bomb(), 422, "cannot be decoded"),
    "no JSON": (JSON, b"{'images': []", 400, "the JSON body"),
    "JSON that is cut": (JSON, b'{"images": ["aGVs', 400, "the JSON body"),
    "JSON without end": (JSON, b"[" * 100_000, 422, "the JSON body"),
    "no text at all": (JSON, b"\xff\xfe\x00", 400, "the JSON body"),
    "a list": (JSON, b"[]", 422, "the JSON body"),
    "no pictures in JSON": (JSON, b'{"images": []}', 422, "images"),
    "null": (JSON, b'{"images": null}', 422, "images"),
    "a number": (JSON, b'{"images": [3]}', 422, "images.0"),
    "an unknown field of JSON": (JSON, b'{"images": ["aa=="], "url": "http://x"}', 422, "url"),
    "an address": (JSON, b'{"images": ["http://127.0.0.1:9/a.png"]}', 400, "not base64"),
    "a path": (JSON, b'{"images": ["/etc/passwd"]}', 400, "not base64"),
    "bad base64": (JSON, b'{"images": ["aGVsb"]}', 400, "not base64"),
    "base64 of both alphabets": (JSON, b'{"images": ["aG+s-G8="]}', 400, "not base64"),
    "no boundary": ("multipart/form-data", b"--x--", 400, "names no boundary"),
    "a form that is none": (FORM, b"hello", 400, "the form"),
    "a form that ends too soon": (FORM, PART + b"abc", 400, "ends before"),
    "an empty form": (FORM, b"--x--\r\n", 422, "has no picture"),
    "a part without a name": (FORM, b"--x\r\nA: b\r\n\r\nc\r\n--x--\r\n", 422, "the field ''"),
    "a header that is none": (FORM, b"--x\r\n: b\r\n\r\nc\r\n--x--\r\n", 400, "the form"),
    "a field with another name": (
        FORM, PART.replace(b"images", b"image") + b"abc\r\n--x--\r\n", 422, "'image'",
    ),
    "a field that is no file": (
        FORM, PART.replace(b'; filename="a"', b"") + b"abc\r\n--x--\r\n", 422, "without a filename",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_bodies(service, case):
    kind, content, status, words = BAD[case]
    headers = {} if kind is None else {"content-type": kind}

    answer = service.client.post("/v1/recognise", content=content, headers=headers)

    assert answer.status_code == status
    assert words in problem(answer)["detail"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?top=0", "query top"),
        ("?top=8", "query top"),
        ("?top=many", "query top"),
        ("?explain=perhaps", "query explain"),
        ("?detector=haar", "query detector"),
        ("?detector=/etc/passwd", "query detector"),
        ("?model=/etc/passwd", "query model: not known"),
        ("?top=1&top=x", "query top"),
    ],
)
def test_bad_queries(service, query, words):
    answer = post(service.client, picture(), query=query)

    assert answer.status_code == 422
    assert words in problem(answer)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/recognise", 405),
        ("PUT", "/v1/model", 405),
        ("POST", "/healthz", 405),
        ("POST", "/v1/jobs/{job}", 405),
        ("GET", "/v1/recognize", 404),
        ("GET", "/v1/jobs/../../etc/passwd", 404),
        ("GET", "/page/..%2f..%2fapp.py", 404),
        ("GET", "/..%2fapp.py", 404),
        ("POST", "/nothing", 404),
        ("GET", "/v1/jobs/there-is-none", 404),
        ("DELETE", "/v1/jobs/there-is-none", 404),
        ("GET", "/v1/jobs/there-is-none/rows.csv", 404),
    ],
)
def test_what_is_not_there(service, method, path, status):
    answer = service.client.request(method, path)

    assert answer.status_code == status
    problem(answer)
    if status == 405:
        told = service.client.get("/openapi.json").json()["paths"][path]
        assert answer.headers["allow"] == ", ".join(sorted(told)).upper()


def test_a_thousand_files(service):
    answer = service.client.post("/v1/recognise", files=files(*[picture()] * 1000))
    assert answer.status_code == 422
    assert "more than 64 pictures" in problem(answer)["detail"]

    answer = service.client.post("/v1/recognise", json=base64_of(*[b""] * 1000))
    assert answer.status_code == 422
    assert "more than 64 pictures" in problem(answer)["detail"]


def test_a_huge_body_is_refused_by_what_it_says_of_itself(service):
    with service.connect(
        b"POST /v1/recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: 99999999999\r\n\r\n"
    ) as raw:
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_huge_body_is_refused_when_it_is_too_long(service):
    read = 0

    def endless():
        nonlocal read
        while read < 100 * MB:
            read += MB
            yield bytes(MB)

    try:
        answer = post(service.client, endless())
    except OSError:  # pragma: no cover (it may hang up before we have said all)
        pass
    else:
        assert answer.status_code == 413
        assert "more than 20 MB" in problem(answer)["detail"]
    assert post(service.client, picture()).status_code == 200


@pytest.mark.parametrize("length", [b"-1", b"x", b"1, 2"])
def test_a_length_that_is_none(service, length):
    with service.connect(
        b"POST /v1/recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: " + length + b"\r\n\r\n"
    ) as raw:
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_who_stops_half_way_is_told_so(serve):
    impatient = serve(timeout_s=0.5)
    began = time.monotonic()

    with impatient.connect(
        b"POST /v1/recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: 1000\r\n\r\nhalf"
    ) as raw:
        answer = b"".join(iter(lambda: raw.recv(10_000), b""))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"stopped or arrived too slowly" in answer
    assert 0.4 < time.monotonic() - began < 5


def test_who_drips_is_told_so(serve):
    impatient = serve(timeout_s=0.5)
    with impatient.connect(
        b"POST /v1/recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: 1000\r\n\r\n"
    ) as raw:
        raw.settimeout(0.1)
        answer = b""
        for _ in range(50):
            try:
                raw.sendall(b"x")
                answer = raw.recv(100)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("head", [b"", b"POST /v1/recog", b"GET /healthz HTTP/1.1\r\nHost: loc"])
def test_who_does_not_finish_a_head_is_hung_up_on(serve, head):
    impatient = serve(timeout_s=0.5)
    began = time.monotonic()

    with impatient.connect(head) as raw:
        assert raw.recv(100) == b""

    assert 0.4 < time.monotonic() - began < 5


def test_a_head_that_drips_is_no_excuse_and_a_used_connection_neither(serve):
    impatient = serve(timeout_s=0.6)
    with impatient.connect(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") as raw:
        assert raw.recv(10_000).startswith(b"HTTP/1.1 200 ")
        raw.settimeout(0.1)
        ended = False
        began = time.monotonic()
        while not ended and time.monotonic() - began < 10:
            try:
                raw.sendall(b"G")
                ended = raw.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
    assert time.monotonic() - began < 5


def test_who_leaves_half_way_costs_nothing(service):
    for _ in range(20):
        service.connect(
            b"POST /v1/recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Content-Length: 1000\r\n\r\nhalf"
        ).close()

    assert post(service.client, picture()).status_code == 200
    assert service.figure("mien_waiting_pictures") == 0


def test_who_does_not_read_is_hung_up_on(serve):
    """Answers pile up on one connection until the service waits; then it has waited enough."""
    impatient = serve(timeout_s=1)
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with impatient.connect() as raw:
        raw.settimeout(0.1)
        ended = False
        began = time.monotonic()
        while not ended and time.monotonic() - began < 20:
            try:
                raw.sendall(ask)
            except TimeoutError:  # it does not read any more either
                continue
            except OSError:
                ended = True
    assert ended
    assert impatient.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9\r\n\r\n",
        b"A" * 200_000,
        b"GET /\x00 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_hung_up_on(service, head):
    with service.connect() as raw:
        try:
            raw.sendall(head)
            raw.shutdown(1)
            while raw.recv(10_000):
                pass
        except OSError:
            pass
    assert service.client.get("/healthz").status_code == 200
