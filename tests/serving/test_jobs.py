"""Videos: a job with progress, results that are the recogniser's own, and nothing left in the end."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_video
from PIL import Image
from services import running
from stand_in import StandIn, photo
from talk import files, problem

from mien.files import atomic_file
from mien.recognise.recognizer import Recognizer
from mien.recognise.stream import recognise_movie
from mien.recognise.video import VideoReader
from mien.serving import jobs
from mien.serving.schemas import JobShape

FRAMES = 12


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    """A photo with a face, moving to the right; with a tone."""
    face = np.asarray(Image.open(photo()).convert("RGB").resize((128, 150)))

    def frames():
        for index in range(FRAMES):
            frame = np.full((160, 240, 3), 90, np.uint8)
            frame[5:155, 4 * index : 4 * index + 128] = face
            yield frame

    path = tmp_path_factory.mktemp("film") / "film.mp4"
    ticks = [512 * index for index in range(FRAMES)]
    return write_video(path, ticks, size=(240, 160), pictures=frames()).read_bytes()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def send(service, content, query="", kind="video/mp4", **headers):
    return service.client.post(
        f"/v1/video{query}", content=content, headers={"content-type": kind, **headers}
    )


def finished(service, location, **headers):
    """The job when it is no more in work; what it says on the way fits its shape."""
    end = time.monotonic() + 30
    progress = 0.0
    while True:
        told = service.client.get(location, headers=headers).json()
        JobShape.model_validate(told)
        assert progress <= told["progress"] <= 1
        progress = told["progress"]
        if told["status"] in ("done", "failed"):
            return told
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_video_gives_what_the_recogniser_gives(serve, film, tmp_path):
    service = serve()
    accepted = send(service, film, "?every=1&annotated=true")
    assert accepted.status_code == 202
    JobShape.model_validate(accepted.json())
    location = accepted.headers["location"]
    assert location == f"/v1/jobs/{accepted.json()['id']}"

    told = finished(service, location)

    assert (told["status"], told["progress"]) == ("done", 1.0)
    assert set(told["results"]) == {"csv", "json", "timeline", "video"}
    (tmp_path / "film.mp4").write_bytes(film)
    expected = []
    with VideoReader(tmp_path / "film.mp4") as movie:
        recognise_movie(movie, Recognizer(StandIn()).recognize, rows=[expected.extend])
    rows = service.client.get(told["results"]["json"]).json()
    assert len(rows) == FRAMES == told["summary"]["frames"]
    assert [{**row, "source": ""} for row in rows] == [{**row, "source": ""} for row in expected]
    assert {row["source"] for row in rows} == {"video"}
    table = service.client.get(told["results"]["csv"])
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
    (first, *_) = csv.DictReader(io.StringIO(table.text))
    assert float(first["happy"]) == rows[0]["happy"]
    timeline = service.client.get(told["results"]["timeline"]).content
    assert Image.open(io.BytesIO(timeline)).format == "PNG"
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(service.client.get(told["results"]["video"]).content)
    with VideoReader(copy) as movie:
        assert movie.has_sound
        assert sum(1 for _ in movie) == FRAMES


def test_a_form_and_the_usual_interval(serve, film):
    service = serve()
    (file,) = files(film, field="video")

    told = finished(service, service.client.post("/v1/video", files=[file]).headers["location"])

    assert set(told["results"]) == {"csv", "json", "timeline"}
    assert told["summary"]["looked_at"] == FRAMES / 2  # 25 frames a second
    answer = service.client.get(f"/v1/jobs/{told['id']}/video.mp4")
    assert answer.status_code == 404
    assert "no video.mp4" in problem(answer)["detail"]


def test_a_video_without_faces_has_a_table_without_rows(serve, tmp_path):
    gray = write_video(tmp_path / "gray.mp4", [0, 512, 1024], sound=None).read_bytes()
    service = serve()

    told = finished(service, send(service, gray).headers["location"])

    assert set(told["results"]) == {"csv", "json"}
    assert service.client.get(told["results"]["json"]).json() == []
    assert len(service.client.get(told["results"]["csv"]).text.splitlines()) == 1


def test_uploads_are_private_and_gone_in_the_end(serve, film, gate, place):
    service = serve(gate)
    gate.open.clear()
    location = send(service, film).headers["location"]

    folders = list(place.rglob("*"))
    assert any(one.name == "upload" for one in folders)
    for one in folders:
        if one.name.startswith("mien-serve-"):
            assert stat.S_IMODE(one.stat().st_mode) & 0o077 == 0
    early = service.client.get(f"{location}/rows.csv")
    assert early.status_code == 409
    problem(early)
    gate.open.set()
    finished(service, location)
    assert not list(place.rglob("upload"))
    assert service.client.delete(location).status_code == 204
    assert service.client.get(location).status_code == 404
    assert service.client.delete(location).status_code == 404
    assert not list(place.rglob("rows.csv"))


def test_results_are_gone_after_a_while_and_when_the_service_ends(serve, film, place):
    service = serve(keep_s=0.3)
    told = finished(service, send(service, film).headers["location"])
    end = time.monotonic() + 10
    while service.client.get(f"/v1/jobs/{told['id']}").status_code != 404:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not list(place.rglob("rows.csv"))


def test_what_is_in_work_at_the_end_is_stopped_and_removed(film, gate, place):
    with running(gate) as service:
        gate.open.clear()
        send(service, film)
        send(service, film)
        assert len(list(place.rglob("upload"))) == 2
        gate.open.set()
    assert not [one for one in place.iterdir() if one.name.startswith("mien-serve-")]


def test_a_job_that_is_deleted_in_work_stops(serve, film, gate, place):
    service = serve(gate)
    gate.asked.acquire(timeout=10)  # the warming up
    gate.open.clear()
    location = send(service, film, "?every=1").headers["location"]
    assert gate.asked.acquire(timeout=10)

    assert service.client.delete(location).status_code == 204
    gate.open.set()

    end = time.monotonic() + 10
    while list(place.rglob("upload")):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(gate.batches) < FRAMES


def test_jobs_of_others_are_not_there(serve, film):
    mine, other = "a-key-of-some-length", "another-one-as-long"
    service = serve(api_keys=(mine, other))
    authorised = {"authorization": f"Bearer {mine}"}
    location = send(service, film, **authorised).headers["location"]
    stranger = {"authorization": f"Bearer {other}"}

    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/rows.csv"), ("GET", "/rows.json")):
        answer = service.client.request(method, location + path, headers=stranger)
        assert answer.status_code == 404
        problem(answer)
    assert finished(service, location, **authorised)["status"] == "done"


def test_ids_are_not_to_be_guessed(serve, film):
    service = serve()
    numbers = {send(service, film).json()["id"] for _ in range(3)}
    assert len(numbers) == 3
    assert all(len(number) >= 32 for number in numbers)  # 192 bits


def test_a_place_for_so_many_and_no_more(serve, film, gate):
    service = serve(gate, max_jobs=4)
    gate.open.clear()
    first = send(service, film)
    assert send(service, film).status_code == 202

    refused = send(service, film)

    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert "delete one" in problem(refused)["detail"]
    service.client.delete(first.headers["location"])
    assert send(service, film).status_code == 202
    assert service.figure("mien_jobs ") == 2
    gate.open.set()


def test_a_job_that_takes_too_long_fails_with_a_sentence(serve, film):
    service = serve(max_job_s=1e-6)
    told = finished(service, send(service, film).headers["location"])
    assert told["status"] == "failed"
    assert "takes longer" in told["detail"]
    assert problem(service.client.get(f"/v1/jobs/{told['id']}/rows.csv"))["status"] == 404


PART = b'--x\r\nContent-Disposition: form-data; name="video"; filename="../../a"\r\n\r\n'
FORM = "multipart/form-data; boundary=x"
BAD = {
    "no type": (None, b"x", 415, "without a Content-Type"),
    "text": ("text/plain", b"x", 415, "text/plain"),
    "empty": ("video/mp4", b"", 422, "is empty"),
    "no video": ("video/mp4", b"hello " * 100, 422, "cannot be read as a video"),
    "a photo": ("video/mp4", photo().read_bytes(), 422, "cannot be read as a video"),
    "a playlist of a file": (
        "video/mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n", 422, "cannot",
    ),
    "a playlist of an address": (
        "application/octet-stream", b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n", 422, "cannot",
    ),
    "a list of files": ("video/mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", 422, "cannot"),
    "no boundary": ("multipart/form-data", b"--x--", 400, "names no boundary"),
    "an empty form": (FORM, b"--x--\r\n", 422, "has no video"),
    "a form that ends too soon": (FORM, PART + b"abc", 400, "ends before"),
    "another field": (
        FORM, PART.replace(b"video", b"film") + b"abc\r\n--x--\r\n", 422, "'film'",
    ),
    "no file": (
        FORM, b'--x\r\nContent-Disposition: form-data; name="video"\r\n\r\nabc\r\n--x--\r\n', 422,
        "without a filename",
    ),
    "two": (FORM, PART + b"abc\r\n" + PART + b"abc\r\n--x--\r\n", 422, "several videos"),
    "two, empty": (FORM, PART + b"\r\n" + PART + b"\r\n--x--\r\n", 422, "several videos"),
    "empty in a form": (FORM, PART + b"\r\n--x--\r\n", 422, "is empty"),
}  # fmt: skip


@pytest.fixture(scope="module")
def lasting(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lasting")


@pytest.fixture(scope="module")
def shared(lasting):
    with running(max_video=1_000_000, max_jobs=4) as one:
        # The first video makes the service's folder: it must outlast the test that sends it.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(lasting))
            assert send(one, b"").status_code == 422
        yield one


@pytest.mark.parametrize("case", BAD)
def test_bad_videos(shared, lasting, case):
    kind, content, status, words = BAD[case]
    headers = {} if kind is None else {"content-type": kind}

    answer = shared.client.post("/v1/video", content=content, headers=headers)

    assert answer.status_code == status, answer.text
    assert words in problem(answer)["detail"]
    assert not list(lasting.rglob("upload"))
    assert shared.figure("mien_jobs ") == 0


@pytest.mark.parametrize("query", ["?every=0", "?every=x", "?annotated=maybe", "?url=http://x"])
def test_bad_queries(shared, film, query):
    answer = send(shared, film, query)
    assert answer.status_code == 422
    problem(answer)


def test_a_huge_video(shared):
    def endless():
        for _ in range(100):
            yield bytes(100_000)

    answer = send(shared, endless())
    assert answer.status_code == 413
    assert "1" in problem(answer)["detail"]
    assert send(shared, bytes(2_000_000)).status_code == 413
    assert shared.figure("mien_jobs ") == 0


def test_a_video_of_larger_frames_than_may_be_is_refused_before_it_is_a_job(serve, film, place):
    service = serve(max_video_pixels=10_000)
    refused = send(service, film)
    assert refused.status_code == 422
    assert "240 x 160" in problem(refused)["detail"]
    assert service.figure("mien_jobs ") == 0


def test_a_damaged_video_says_what_is_missing(shared, film):
    accepted = send(shared, film[: len(film) // 2])
    if accepted.status_code == 202:
        told = finished(shared, accepted.headers["location"])
        assert told["status"] in ("done", "failed")
        assert "/" not in told["detail"]
        assert json.dumps(told)
        shared.client.delete(accepted.headers["location"])
    else:
        problem(accepted)


def test_what_a_killed_service_left_is_swept_and_no_living_ones(serve, film, place):
    living = serve()
    send(living, film)
    (held,) = place.glob("mien-serve-*")
    dead, fresh, strange = (place / f"mien-serve-{name}" for name in ("dead", "fresh", "link"))
    for folder in (dead, fresh):
        folder.mkdir()
        (folder / "upload").write_bytes(b"somebody's film")
    strange.symlink_to(place / "elsewhere")
    for folder in (held, dead):
        os.utime(folder, (0, 0))

    serve()

    assert not dead.exists()
    assert held.is_dir()
    assert fresh.is_dir()  # perhaps a service that is just beginning
    assert strange.is_symlink()


def test_a_full_disk_is_told_without_a_path(serve, film, place, monkeypatch):
    def write(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr(jobs, "RowFile", lambda path, _: atomic_file(path))
    monkeypatch.setattr(jobs, "recognise_film", write)
    service = serve()
    told = finished(service, send(service, film).headers["location"])
    assert told["status"] == "failed"
    assert told["detail"].startswith("the service has no room")
    assert str(place) not in told["detail"]


def test_more_results_than_there_is_room_for_end_a_job(serve, film, monkeypatch):
    monkeypatch.setattr(jobs, "_MOST_FACES", 0)
    service = serve()
    told = finished(service, send(service, film).headers["location"])
    assert told["status"] == "failed"
    assert "more than the service has room for" in told["detail"]
