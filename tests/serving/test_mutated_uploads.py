"""Thousands of broken uploads: each an answer or a problem, soon, in little memory, and the service goes on.

MIEN_UPLOADS=20000 pytest -m slow tests/serving/test_mutated_uploads.py
"""

from __future__ import annotations

import itertools
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pytest
from broken_pictures import mutated, seeds
from services import Running, started
from talk import base64_of, files, picture, post, problem

UPLOADS = int(os.environ.get("MIEN_UPLOADS", "3000"))
SECONDS = 20
ALLOWED = {200, 400, 413, 415, 422}


def requests() -> list[tuple[str, bytes]]:
    """Whole bodies of every kind, and their types: what is broken are pictures, forms and JSON."""
    form = httpx.Request("POST", "http://a", files=files(picture(), picture("JPEG")))
    raw = [("image/png", content) for content in seeds().values()]
    several = [
        (form.headers["content-type"], form.read()),
        ("application/json", json.dumps(base64_of(picture(), picture("GIF"))).encode()),
    ]
    return raw + several * 4


def check(client: httpx.Client, kind: str, body: bytes, query: str) -> int:
    """Send one; the status."""
    began = time.monotonic()
    answer = post(client, body, kind, query)
    assert time.monotonic() - began < SECONDS
    assert answer.status_code in ALLOWED, answer.text
    if answer.status_code == 200:
        assert answer.json()["images"]
    else:
        problem(answer)
    return answer.status_code


def send(service, cases: int, seed: int) -> dict[int, int]:
    rng = np.random.default_rng(seed)
    whole = requests()
    counts = dict.fromkeys(ALLOWED, 0)

    def broken():
        for number in range(cases):
            kind, body = whole[number % len(whole)]
            yield kind, mutated(body, rng), "?detector=none" if number % 3 else ""

    case = broken()
    with ThreadPoolExecutor(4) as pool:
        while some := list(itertools.islice(case, 100)):  # all at once would be held in memory
            for status in pool.map(lambda one: check(service.client, *one), some):
                counts[status] += 1
    assert post(service.client, picture()).status_code == 200
    assert service.figure("mien_waiting_pictures") == 0
    return counts


def test_hundreds_of_mutated_uploads(service):
    counts = send(service, 300, seed=1)
    assert min(counts[200], counts[422], counts[400]) > 10


@pytest.mark.slow
def test_thousands_of_mutated_uploads():
    with (
        started("--threads", "2") as (process, url),
        httpx.Client(base_url=url, timeout=SECONDS, trust_env=False) as client,
    ):
        service = Running(url, client, model=None)
        memory = psutil.Process(process.pid).memory_info
        send(service, 1000, seed=2)  # what grows once has grown
        before = memory().rss

        counts = send(service, UPLOADS, seed=3)

        grown = memory().rss - before
        print(counts, f"{grown / 1e6:.1f} MB more than {before / 1e6:.1f}")  # noqa: T201
        assert grown < 50_000_000
