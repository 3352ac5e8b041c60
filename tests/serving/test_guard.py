"""Who may ask: hosts, origins, keys and rates."""

from __future__ import annotations

import ipaddress
import math
import subprocess
import sys
import time

import httpx
import pytest
from talk import picture, post, problem

from mien.errors import InputError
from mien.serving import shares
from mien.serving.guard import is_loopback
from mien.serving.settings import Settings

KEY, OTHER = "a-key-of-some-length", "another-one-as-long"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:80", "LOCALHOST:1"])
def test_our_own_names(service, host):
    assert service.client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "8.8.8.8", ""]
)
def test_a_name_that_was_bent_to_our_address_is_refused(service, host):
    answer = service.client.get("/v1/model", headers={"host": host})
    assert answer.status_code == 421
    assert "--allow-host" in problem(answer)["detail"]


def test_a_service_for_others_is_asked_by_its_address_or_an_allowed_name(serve):
    public = serve(loopback=False, allow_hosts=("faces.example",))

    def status(host):
        return public.client.get("/healthz", headers={"host": host}).status_code

    assert status("192.168.1.7:8000") == status("Faces.Example:8000") == 200
    assert status("evil.example") == 421


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:9", "http://127.0.0.1", "file://"]
)
def test_pages_of_other_sites_are_refused(service, origin):
    answer = post(service.client, picture(), query="?detector=none")
    assert answer.status_code == 200

    answer = service.client.get("/v1/model", headers={"origin": origin})

    assert answer.status_code == 403
    assert "--allow-origin" in problem(answer)["detail"]


def test_our_own_page_may_ask(service):
    answer = service.client.get("/v1/model", headers={"origin": service.url})
    assert answer.status_code == 200


def test_a_site_that_was_allowed_may_ask_and_no_other(serve):
    friendly = serve(allow_origins=("https://friend.example",), api_keys=(KEY,))
    asked = {
        "origin": "https://friend.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    allowed = friendly.client.options("/v1/recognise", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://friend.example"

    refused = friendly.client.get("/v1/model", headers={"origin": "https://friend.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://friend.example"

    other = friendly.client.options(
        "/v1/recognise", headers=asked | {"origin": "https://evil.example"}
    )
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


def test_a_key_is_needed_where_there_is_one(serve):
    locked = serve(api_keys=(KEY, OTHER))

    def ask(value):
        headers = {} if value is None else {"authorization": value}
        return locked.client.get("/v1/model", headers=headers)

    for value in (None, "", f"Basic {KEY}", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", "Bearer é"):
        answer = ask(None if value is None else value.encode())
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert KEY not in problem(answer)["detail"]
    for key in (KEY, OTHER):
        assert ask(f"Bearer {key}").status_code == 200
        assert ask(f"bearer {key}").status_code == 200
    assert locked.client.get("/metrics").status_code == 401
    for free in ("/healthz", "/readyz", "/docs"):
        assert locked.client.get(free).status_code == 200
    described = locked.client.get("/openapi.json").json()
    assert described["paths"]["/v1/model"]["get"]["security"] == [{"key": []}]


def test_the_time_that_a_wrong_key_takes_tells_nothing_of_the_right_ones(serve, monkeypatch):
    """Every key is compared, all of it, whatever was given: also one of another length, also after one that fits."""
    compared = []

    def compare(given, kept):
        compared.append((len(given), len(kept)))
        return given == kept

    locked = serve(api_keys=(KEY, OTHER))
    monkeypatch.setattr("mien.serving.guard.hmac.compare_digest", compare)
    for key, status in (("x", 401), (KEY[:-1], 401), (KEY, 200), ("x" * 5000, 401)):
        compared.clear()
        answer = locked.client.get("/v1/model", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status
        assert compared == [(32, 32)] * 2


@pytest.mark.parametrize(
    "path",
    [
        "//v1/model",
        "/V1/model",
        "/v1%2Fmodel",
        "/./v1/model",
        "/v1//model",
        "/x/../v1/model",
        "/v1/model/",
    ],
)
def test_no_other_spelling_of_an_address_leads_around_the_key(serve, path):
    locked = serve(api_keys=(KEY,))
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with locked.connect(head.encode()) as raw:
        answer = raw.recv(10_000)
    assert answer[:12] in (b"HTTP/1.1 401", b"HTTP/1.1 404")


def test_every_v1_route_is_behind_the_key(serve):
    locked = serve(api_keys=(KEY,))
    for path, methods in locked.client.get("/openapi.json").json()["paths"].items():
        if path.startswith("/v1/"):
            for method in methods:
                answer = locked.client.request(method, path.format(job="x"))
                assert answer.status_code == 401, (method, path)


def test_who_asks_too_often_waits(serve):
    slow = serve(rate=2)
    answers = [slow.client.get("/v1/model") for _ in range(8)]

    assert [answer.status_code for answer in answers[:4]] == [200] * 4  # two seconds' worth
    assert answers[-1].status_code == 429
    problem(answers[-1])
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert slow.client.get("/healthz").status_code == 200
    time.sleep(1.1)
    assert slow.client.get("/v1/model").status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_keys": ("short",)},
        {"api_keys": ("a key with an ümlaut in it",)},
        {"allow_origins": ("example.org",)},
        {"allow_origins": ("https://example.org/page",)},
        {"max_body": 0},
        {"rate": -1},
        {"timeout_s": float("nan")},
        {"max_images": 1000},
        {"max_body": 10**12},
    ],
)
def test_settings_that_do_not_fit(wrong):
    with pytest.raises(InputError):
        Settings(**wrong)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["::", "10.0.0.1", "192.168.0.1", "example.org"])
def test_not_loopback(host):
    assert not is_loopback(host)


def test_unexpected_failures_tell_where_and_not_what(serve, caplog):
    class Broken(type(serve().model)):
        warm = False

        def __call__(self, faces):
            if self.warm:
                raise RuntimeError("the secret of the picture")
            self.warm = True
            return super().__call__(faces)

    broken = serve(Broken())
    answer = post(broken.client, picture(), query="?detector=none")

    assert answer.status_code == 500
    problem(answer)
    assert "test_guard.py" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text + answer.text
    assert broken.client.get("/healthz").status_code == 200
    assert ipaddress.ip_address(httpx.URL(broken.url).host).is_loopback


#: A process that tells OpenTelemetry everything, as its environment may be set up to; FastAPI takes part by default.
TELLING = """
import sys
sys.path[:0] = {paths!r}
import httpx, asyncio
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from stand_in import StandIn
from mien.serving.app import create_app

told = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(told))
trace.set_tracer_provider(provider)

async def ask(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.get("/docs")
        await client.post("/v1/recognise", content=b"secret", headers={{"content-type": "image/png"}})
    count = len(told.get_finished_spans())
    told.clear()
    return count

print(asyncio.run(ask(FastAPI())), asyncio.run(ask(create_app(StandIn()))))
"""


def test_nothing_is_told_to_telemetry_that_the_process_has_set_up():
    pytest.importorskip("opentelemetry.sdk")
    code = TELLING.format(paths=sys.path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, ours = map(int, done.stdout.split())
    if not plain:
        pytest.skip("this FastAPI tells nothing by itself")
    assert ours == 0


@pytest.mark.parametrize(("rate", "asked"), [(10, 15), (0.5, 2), (1, 2)])
def test_who_asks_too_often_gets_the_rate_and_no_less(rate, asked, monkeypatch):
    now = 0.0
    monkeypatch.setattr(shares.time, "monotonic", lambda: now)
    bucket = shares.Bucket(rate)
    passed = 0
    for number in range(40 * asked):
        now = number / asked
        passed += not bucket.take()
    assert passed == pytest.approx(40 * rate + max(1, 2 * rate), abs=2)


def test_who_waits_as_long_as_told_gets_through(monkeypatch):
    now = 0.0
    monkeypatch.setattr(shares.time, "monotonic", lambda: now)
    bucket = shares.Bucket(0.3)
    assert bucket.take() == 0
    now += math.ceil(bucket.take())
    assert bucket.take() == 0
