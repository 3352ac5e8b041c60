"""What the service answers to those who ask rightly."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pydantic
import pytest
from PIL import Image
from stand_in import StandIn
from talk import PHOTO, base64_of, check_problem, files, picture, post

from mien.recognise.explain import hidden_parts, painted
from mien.recognise.recognizer import Recognizer
from mien.serving.schemas import BoxShape, FaceShape, ModelShape, RecognisedShape


def test_the_described_face_is_the_recognisers_record():
    record = Recognizer(StandIn()).recognize(PHOTO)[0].to_dict()
    assert list(FaceShape.model_fields) == [*record, "explanation"]
    assert list(BoxShape.model_fields) == list(record["box"])


def test_every_way_to_send_a_photo_gives_the_recognisers_own_answer(service):
    expected = Recognizer(StandIn()).recognize(PHOTO).to_dict()
    assert len(expected["faces"]) == 1

    raw = post(service.client, PHOTO, "image/jpeg")
    form = service.client.post("/v1/recognise", files=files(PHOTO))
    text = service.client.post("/v1/recognise", json=base64_of(PHOTO))

    for answer, name in ((raw, None), (form, "0.png"), (text, None)):
        assert answer.status_code == 200
        RecognisedShape.model_validate_json(answer.text, strict=True)
        told = answer.json()
        assert told["model"] == {"name": "stand-in", "digest": "0" * 64}
        assert told["images"] == [{"name": name, **expected}]


def test_the_answer_that_the_page_shows_is_the_real_one(serve):
    """It was of an earlier network, and lacked two fields."""
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    shown = json.loads(page.split("```json\n")[1].split("```")[0])

    real = post(serve(Recognizer().model).client, PHOTO, "image/jpeg", "?top=3").json()

    assert real["model"].pop("digest").startswith(shown["model"].pop("digest").removesuffix("..."))
    _check_shortened(shown, real)


def _check_shortened(shown, real):
    if isinstance(shown, dict):
        assert list(shown) == list(real)
        for name in shown:
            _check_shortened(shown[name], real[name])
    elif isinstance(shown, list):
        for one, other in zip(shown, real, strict=True):
            _check_shortened(one, other)
    else:
        close = (
            pytest.approx(real, abs=0.006 if abs(real) < 1 else 0.06)
            if isinstance(real, float)
            else real
        )
        assert shown == close


def test_ready_faces_are_not_looked_for(service):
    ready = [picture(level=level) for level in (20, 90, 200)]

    told = service.client.post("/v1/recognise?detector=none", files=files(*ready)).json()

    expected = Recognizer(StandIn(), detector="none").recognize(ready)
    assert [one["faces"] for one in told["images"]] == [e.to_dict()["faces"] for e in expected]


def test_top_keeps_the_likeliest(service):
    (everything,) = post(service.client, picture(), query="?detector=none").json()["images"]
    (some,) = post(service.client, picture(), query="?detector=none&top=2").json()["images"]

    every, top = (one["faces"][0]["probabilities"] for one in (everything, some))
    assert list(every) == list(StandIn().card.expressions)
    assert list(top.items()) == sorted(every.items(), key=lambda item: -item[1])[:2]


def test_the_size_at_which_faces_are_looked_for_is_asked_for_and_told(service):
    usual, coarser = (
        post(service.client, PHOTO, "image/jpeg", query=query).json()["images"][0]["looked_at"]
        for query in ("", "?size=320")
    )
    assert (usual["size"], coarser["size"]) == (600, 320)
    assert coarser["smallest_face"] > usual["smallest_face"]
    assert post(service.client, PHOTO, "image/jpeg", query="?size=2561").status_code == 422


def test_explanations_are_hidden_parts(service):
    ready = picture(level=60)
    (told,) = post(service.client, ready, query="?detector=none&explain=true").json()["images"]

    found = told["faces"][0]["explanation"]
    crop = Recognizer(StandIn(), detector="none").look(ready).crops[0]
    mattered = hidden_parts(StandIn(), crop)
    assert (found["width"], found["height"]) == (48, 48)
    np.testing.assert_allclose(found["map"], mattered, atol=1e-4)
    shown = Image.open(io.BytesIO(_decoded(found["image"])))
    np.testing.assert_array_equal(np.asarray(shown), painted(crop, mattered))


def _decoded(address: str) -> bytes:
    import base64

    start, _, data = address.partition(",")
    assert start == "data:image/png;base64"
    return base64.b64decode(data)


def test_at_most_eight_faces_of_a_request_are_explained(service):
    told = service.client.post(
        "/v1/recognise?detector=none&explain=true", files=files(*[picture()] * 10)
    ).json()

    explained = [one["faces"][0]["explanation"] is not None for one in told["images"]]
    assert sum(explained) == 8


def test_a_bad_picture_among_good_ones_is_a_problem_in_its_place(service):
    sent = [picture(), b"no picture", picture()[:60], picture()]

    answer = service.client.post("/v1/recognise?detector=none", files=files(*sent))

    assert answer.status_code == 200
    RecognisedShape.model_validate_json(answer.text, strict=True)
    first, second, third, last = answer.json()["images"]
    assert first["faces"]
    assert last["faces"]
    check_problem(second["problem"], 415)
    check_problem(third["problem"], 422)
    assert second["name"] == "1.png"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "BMP", "GIF"])
def test_formats_are_told_by_content(service, kind):
    answer = post(service.client, picture(kind), "image/x-other", "?detector=none")
    assert answer.status_code == 200
    assert len(answer.json()["images"][0]["faces"]) == 1


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "AVIF", "JPEG2000"])
def test_other_formats_are_not_read(service, kind):
    assert post(service.client, picture(kind), "image/png").status_code == 415


def test_no_face_is_an_answer(service):
    answer = post(service.client, picture(size=(200, 200)))
    assert answer.status_code == 200
    assert answer.json()["images"][0]["faces"] == []


def test_the_model_tells_its_card(service):
    told = service.client.get("/v1/model").json()

    pydantic.TypeAdapter(ModelShape).validate_python(told)
    card = json.loads(StandIn().card.to_json())
    assert told | card == told
    assert told["formats"] == ["JPEG", "PNG", "WebP", "BMP", "GIF"]
    assert told["limits"]["body_bytes"] == 20_000_000


def test_health_and_figures(service):
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ok"}
    before = service.figure("mien_faces_total")
    name = 'mien_requests_total{route="/v1/recognise",status="200"}'
    answered = service.figure(name)

    post(service.client, PHOTO, "image/jpeg")

    assert service.figure("mien_faces_total") == before + 1
    assert service.figure(name) == answered + 1
    assert service.figure("mien_waiting_pictures") == 0


def test_figures_have_no_addresses_that_strangers_make_up(service):
    service.client.get("/made-up-by-a-stranger")
    service.client.get("/v1/jobs/made-up-by-a-stranger")

    assert "stranger" not in service.client.get("/metrics").text


def test_the_docs_name_every_route_and_load_nothing_from_elsewhere(service):
    page = service.client.get("/docs").text

    for path in service.client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page
    assert re.findall(r'(?:href|src)="(?!#)([^"]+)"', page) == ["docs.css", "openapi.json", "./"]
    assert "<script" not in page
    assert "style=" not in page
    assert service.client.get("/docs.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/v1/nothing", "/v1/recognise"])
def test_every_answer_has_its_headers(service, path):
    headers = service.client.get(path).headers

    rules = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert not any(name.startswith("access-control") for name in headers)
