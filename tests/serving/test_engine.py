"""Requests share the network, wait in a bounded line, and are told when it is full."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from stand_in import StandIn
from talk import files, picture, post, problem

from mien.recognise.recognizer import Recognizer
from mien.serving import engine

LEVELS = range(0, 200, 5)


def answers_of(client: httpx.Client, pictures: list[bytes]) -> list[httpx.Response]:
    """One request a picture, all at once."""
    with ThreadPoolExecutor(len(pictures)) as pool:
        return list(pool.map(lambda one: post(client, one, query="?detector=none"), pictures))


def wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_requests_are_classified_together_and_each_gets_its_own(serve):
    service = serve(window_s=0.2)
    pictures = [picture(level=level) for level in LEVELS]
    expected = Recognizer(StandIn(), detector="none").recognize(pictures)

    answers = answers_of(service.client, pictures)

    for answer, faces in zip(answers, expected, strict=True):
        assert answer.json()["images"][0]["faces"] == faces.to_dict()["faces"]
    sizes = service.model.batches[1:]  # after the warming up
    assert sum(sizes) == len(pictures)
    assert len(sizes) < 3 * len(pictures) / 4  # on a busy machine requests come apart


def test_faces_gather_while_every_thread_is_at_work(serve, gate):
    service = serve(gate, threads=1, window_s=0)
    gate.open.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(post, service.client, picture(), query="?detector=none")
        wait_for(lambda: service.figure("mien_batch_faces_count") == 1)
        rest = [
            pool.submit(post, service.client, picture(), query="?detector=none") for _ in range(8)
        ]
        wait_for(lambda: service.figure("mien_waiting_pictures") == 9)
        time.sleep(0.3)  # they are looked at meanwhile
        gate.open.set()
        assert [one.result().status_code for one in (first, *rest)] == [200] * 9
    assert service.figure("mien_batch_faces_count") == 2
    assert service.figure("mien_batch_faces_sum") == 9


def test_a_full_batch_is_laid_ready_before_a_thread_asks_for_it(serve, gate):
    service = serve(gate, threads=1, window_s=0)
    gate.open.clear()
    with ThreadPoolExecutor(4) as pool:
        several = files(*[picture()] * 16)
        asked = [
            pool.submit(service.client.post, "/v1/recognise?detector=none", files=several)
            for _ in range(4)
        ]
        # One in work, one full one ready; what is left gathers.
        wait_for(lambda: service.figure("mien_waiting_pictures") == 64)
        wait_for(lambda: service.figure("mien_batch_faces_count") == 2)
        gate.open.set()
        assert [one.result().status_code for one in asked] == [200] * 4
    assert service.figure("mien_batch_faces_sum") == 64


def test_a_lone_request_does_not_wait_for_others(serve):
    service = serve(window_s=30)
    began = time.monotonic()

    assert post(service.client, picture(), query="?detector=none").status_code == 200

    assert time.monotonic() - began < 10


def test_many_pictures_come_back_in_their_order(service):
    pictures = [picture(level=level) for level in LEVELS]

    answer = service.client.post("/v1/recognise?detector=none", files=files(*pictures)).json()

    expected = Recognizer(StandIn(), detector="none").recognize(pictures)
    assert [one["faces"] for one in answer["images"]] == [e.to_dict()["faces"] for e in expected]
    assert [one["name"] for one in answer["images"]] == [f"{n}.png" for n in range(len(LEVELS))]


def test_what_is_too_much_is_told_to_come_again(serve, gate):
    service = serve(gate, max_waiting=4, max_images=4)
    gate.open.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [
            pool.submit(post, service.client, picture(), query="?detector=none") for _ in range(4)
        ]
        wait_for(lambda: service.figure("mien_waiting_pictures") == 4)

        refused = post(service.client, picture())
        ready = service.client.get("/readyz")
        alive = service.client.get("/healthz")
        gate.open.set()

        assert [one.result().status_code for one in waiting] == [200] * 4
    assert refused.status_code == ready.status_code == 503
    assert alive.status_code == 200
    assert refused.headers["retry-after"] == "1"
    assert "waiting" in problem(refused)["detail"]
    assert service.client.get("/readyz").status_code == 200


def test_several_pictures_are_taken_together_or_not(serve, gate):
    service = serve(gate, max_waiting=4, max_images=4)
    gate.open.clear()
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(post, service.client, picture(), query="?detector=none")
        wait_for(lambda: service.figure("mien_waiting_pictures") == 1)

        refused = service.client.post("/v1/recognise", files=files(*[picture()] * 4))
        gate.open.set()

        assert refused.status_code == 503
        assert one.result().status_code == 200


def test_bodies_are_held_up_to_a_limit(serve):
    service = serve(max_body=1000, max_held=1500)
    head = (
        b"POST /v1/recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: 1000\r\n\r\n"
    )
    with service.connect(head + bytes(600)):

        def refused() -> bool:
            return (
                service.client.post(
                    "/v1/recognise", content=bytes(1000), headers={"content-type": "image/png"}
                ).status_code
                == 503
            )

        wait_for(refused)
    wait_for(lambda: not refused())


def test_an_answer_that_takes_too_long_is_not_waited_for(serve, gate):
    service = serve(gate, timeout_s=0.3)
    gate.open.clear()

    answer = post(service.client, picture(), query="?detector=none")
    gate.open.set()

    assert answer.status_code == 503
    assert "0.3 s" in problem(answer)["detail"]
    assert post(service.client, picture(), query="?detector=none").status_code == 200
    assert service.figure("mien_waiting_pictures") == 0


def test_nobody_waits_for_the_pictures_of_who_gave_up(serve, gate):
    """After a request is out of time, those of its pictures that were not looked at never are."""
    service = serve(gate, timeout_s=0.3, threads=1)
    gate.open.clear()
    looked = 0

    def slow_explained() -> httpx.Response:
        return service.client.post(
            "/v1/recognise?detector=none&explain=true", files=files(*[picture()] * 30)
        )

    assert slow_explained().status_code == 503
    looked = len(gate.batches)
    gate.open.set()
    assert post(service.client, picture(), query="?detector=none").status_code == 200
    assert len(gate.batches) - looked < 12  # the one that was in work, and this one


@pytest.mark.parametrize("threads", [1, 3])
def test_a_crowd_gets_the_same_answers_with_any_number_of_threads(serve, threads):
    service = serve(threads=threads)
    pictures = [picture(level=level) for level in LEVELS]
    expected = Recognizer(StandIn(), detector="none").recognize(pictures)

    answers = answers_of(service.client, pictures)

    assert threading.active_count() < 40
    for answer, faces in zip(answers, expected, strict=True):
        assert answer.json()["images"][0]["faces"] == faces.to_dict()["faces"]


def test_memory_is_returned_some_time_after_work_once_for_all(serve, monkeypatch):
    returned = []
    monkeypatch.setattr(engine, "_TIDY_S", 0.3)
    monkeypatch.setattr(engine, "return_freed_memory", lambda: returned.append(1))
    service = serve()

    for _ in range(3):
        assert post(service.client, picture(), query="?detector=none").status_code == 200
    assert not returned
    wait_for(lambda: returned)
    time.sleep(0.5)
    assert returned == [1]

    assert post(service.client, b"no picture").status_code == 415
    wait_for(lambda: len(returned) == 2)


def test_explaining_ready_crops_is_shared_by_the_threads(serve, monkeypatch):
    """Reading a crop takes a moment, explaining it hundreds of looks by the network."""
    both = threading.Barrier(2)

    def hidden_parts(model, crop):
        both.wait(20)  # one thread alone would wait in vain
        return np.zeros(crop.shape[1:], np.float32)

    monkeypatch.setattr(engine, "hidden_parts", hidden_parts)
    service = serve(threads=2)

    sent = files(picture(), picture())
    answer = service.client.post("/v1/recognise?detector=none&explain=true", files=sent)

    assert answer.status_code == 200
