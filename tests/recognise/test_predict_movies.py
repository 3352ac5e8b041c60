"""mien predict on videos, and on a camera that is made up: what it prints, writes and leaves with."""

from __future__ import annotations

import csv
import io
import itertools
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from make_videos import sound_packets, write_video
from stand_in import StandIn, photo

from mien.expressions import SEVEN
from mien.recognise import camera as cameras
from mien.recognise import recognizer as room
from mien.recognise.pictures import read_picture
from mien.recognise.video import VideoReader


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """The bundled model's place is taken by one whose answers are quick."""
    monkeypatch.setattr(room.FaceModel, "open", lambda *_, **__: StandIn())


def portrait():
    """Her, in a size that is found quickly."""
    return np.ascontiguousarray(read_picture(photo())[60:420:2, 100:420:2])


@pytest.fixture
def film(tmp_path):
    """Twelve frames of her, with a tone."""
    picture = portrait()
    size = (picture.shape[1], picture.shape[0])
    return write_video(
        tmp_path / "film.mp4",
        range(0, 512 * 12, 512),
        size=size,
        pictures=itertools.repeat(picture),
    )


def test_a_video_becomes_a_table_rows_a_copy_and_a_timeline(mien, film, tmp_path):
    out, table = tmp_path / "out", tmp_path / "faces.csv"
    status, said, err = mien(film, "--csv", table, "--out", out, "--timeline", "--every", "5")
    assert status == 0, err
    assert "film.mp4" in said
    assert "12 frames, looked at 3" in said
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [int(row["frame"]) for row in rows] == list(range(12))
    assert [int(row["frame"]) for row in rows if row["detection_score"]] == [0, 5, 10]
    assert {row["track_id"] for row in rows} == {"1"}
    assert {row["source"] for row in rows} == {str(film)}
    assert set(SEVEN) < set(rows[0])
    assert sorted(path.name for path in out.glob("[!.]*")) == ["film.mp4", "film.mp4.timeline.png"]
    assert sound_packets(out / "film.mp4") == sound_packets(film)
    with VideoReader(out / "film.mp4") as copy, VideoReader(film) as first:
        for marked, frame in zip(copy, first, strict=True):
            assert np.abs(marked.pixels.astype(int) - frame.pixels).max() > 100


def test_json_tells_of_each_face_from_when_to_when(mien, film):
    status, said, _ = mien(film, "--json")
    told = json.loads(said)
    assert status == 0
    assert told["pictures"] == told["failed"] == []
    (video,) = told["videos"]
    assert (video["file"], video["frames"], video["looked_at"]) == (str(film), 12, 6)
    (face,) = video["faces"]
    assert (face["track_id"], face["frames"], face["first_s"]) == (1, 12, 0)
    assert face["last_s"] == pytest.approx(11 / 25)
    assert sum(face["probabilities"].values()) == pytest.approx(1)


def test_a_folder_of_photos_and_videos_one_cut_short_and_one_no_video(mien, film, tmp_path):
    album = tmp_path / "album"
    (album / "deep").mkdir(parents=True)
    (album / "deep" / "film.mp4").write_bytes(film.read_bytes())
    (album / "photo.jpg").write_bytes(photo().read_bytes())
    (album / "none.mp4").write_text("nothing")
    whole = write_video(tmp_path / "long.mkv", range(0, 512 * 100, 512))
    (album / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    status, said, err = mien(album, "--json", "--out", tmp_path / "out")
    told = json.loads(said)
    assert status == 1
    assert len(told["pictures"]) == 1
    assert [video["file"] for video in told["videos"]] == [
        str(album / "cut.mkv"),
        str(album / "deep" / "film.mp4"),
    ]
    assert told["videos"][0]["frames"] > 20
    assert [one["file"] for one in told["failed"]] == [
        str(album / "cut.mkv"),
        str(album / "none.mp4"),
    ]
    assert "could not be read as a whole, 2 of 4:" in err
    assert (tmp_path / "out" / "deep" / "film.mp4").is_file()
    assert (tmp_path / "out" / "cut.mkv").is_file()
    assert not (tmp_path / "out" / "none.mp4").exists()


def test_a_folder_that_was_stopped_goes_on(mien, film, tmp_path, monkeypatch):
    album = tmp_path / "album"
    album.mkdir()
    for number in range(3):
        (album / f"{number}.mp4").write_bytes(film.read_bytes())
    whole, table = tmp_path / "whole.csv", tmp_path / "faces.csv"
    assert mien(album, "--csv", whole)[0] == 0

    recognise, calls = room.Recognizer.recognize, itertools.count()

    def stopping(self, picture):
        if next(calls) == 8:  # in the second of three videos, six looks each
            raise KeyboardInterrupt
        return recognise(self, picture)

    monkeypatch.setattr(room.Recognizer, "recognize", stopping)
    assert mien(album, "--csv", table)[0] == 130
    assert not table.exists()
    monkeypatch.setattr(room.Recognizer, "recognize", recognise)
    status, said, _ = mien(album, "--csv", table, "--resume", "--json")
    assert status == 0
    assert len(json.loads(said)["videos"]) == 2
    assert table.read_bytes() == whole.read_bytes()


def test_a_camera_streams_rows_to_standard_output(mien, monkeypatch):
    class MadeUp:
        left = 5

        def isOpened(self):  # noqa: N802 (OpenCV's name)
            return True

        def read(self):
            self.left -= 1
            return self.left >= 0, portrait()[..., ::-1]

        def release(self):
            pass

    monkeypatch.setattr(cameras, "_quiet_capture", lambda number: MadeUp())
    status, said, err = mien("0")
    rows = list(csv.DictReader(io.StringIO(said)))
    assert rows
    assert {row["source"] for row in rows} == {"camera 0"}
    assert status == 1  # it went away by itself
    assert "gave no more pictures" in err


def test_options_of_the_other_kind_are_told(mien, film, tmp_path):
    _, _, err = mien(film, "--out", tmp_path / "films", "--explain", "--every", "9")
    assert "--explain is for photos" in err
    _, _, err = mien(photo(), "--out", tmp_path / "photos", "--timeline")
    assert "--timeline is for videos" in err


def test_what_cannot_be_done_is_one_sentence(mien, film, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, said in (
        ((), "Missing argument"),
        ((film, "--timeline"), "--timeline needs --out"),
        ((film, "--out", film.parent), "holds something else"),
        ((film, "--out", tmp_path / "file"), "a folder is needed"),
    ):
        status, out, err = mien(*arguments)
        assert (status, out) == (2, "")
        assert said in err
        assert "Traceback" not in err
    status, _, err = mien("99", "--json")
    assert status == 1
    assert "camera 99: there is none" in err


def test_a_video_without_a_face_is_an_answer(mien, tmp_path):
    film = write_video(tmp_path / "a.mp4", range(0, 5120, 512), sound=None)
    status, said, _ = mien(film, "--out", tmp_path / "out", "--timeline")
    assert status == 0
    assert "no face" in said
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["a.mp4"]


def test_one_of_a_thing_is_told_as_one(mien, tmp_path):
    picture = portrait()
    film = write_video(
        tmp_path / "short.mp4",
        [0],
        size=(picture.shape[1], picture.shape[0]),
        sound=None,
        pictures=itertools.repeat(picture),
    )

    status, said, err = mien(film)

    assert status == 0, err
    assert "1 frame, looked at 1" in said


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send these to one process")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_nothing_half_written(tmp_path, name):
    """The copy stayed under a hidden name, and another one after each such end."""
    size = (128, 96)
    film = write_video(tmp_path / "film.mp4", range(0, 512 * 1500, 512), size=size, sound=None)
    out, table = tmp_path / "out", tmp_path / "faces.csv"
    # The tests may run where it is ignored, as under nohup.
    code = f"import signal; signal.signal(signal.{name}, signal.SIG_DFL); from mien.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", film, "--out", out, "--csv", table]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.glob(".film.mp4.*")):
        time.sleep(0.01)

    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (-getattr(signal, name), "")
    assert [path.name for path in out.iterdir()] == [".mien.json"]
    assert sorted(tmp_path.iterdir()) == [film, out]
