"""Photos, folders, patterns, videos and addresses are told apart; a camera is one that is made up."""

from __future__ import annotations

import itertools
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from make_videos import drawn, place, write_video

from mien.errors import InputError
from mien.recognise.camera import Camera
from mien.recognise.draw import write_picture
from mien.recognise.media import COPIES, COPIES_FILE, Item, find


@pytest.fixture
def album(tmp_path):
    """A folder of photos, videos and other things."""
    top = tmp_path / "album"
    for name in (
        "b.png",
        "a.jpg",
        "day 1/c.webp",
        "day 1/deep/d.png",
        ".hidden.png",
        "copies/e.png",
    ):
        write_picture(top / name, drawn(0, 0))
    write_video(top / "day 1" / "film.mp4", range(0, 1536, 512))
    (top / "notes.txt").write_text("not a photo")
    (top / "code.ts").write_text("export const answer = 42")
    (top / "broken.jpg").write_text("")
    (top / "photo-without-suffix").write_bytes((top / "a.jpg").read_bytes())
    (top / ".trash").mkdir()
    write_picture(top / ".trash" / "f.png", drawn(0, 0))
    return top


def names(items):
    return [(item.kind, item.name) for item in items]


def test_folders_are_searched_in_order_and_by_content(album):
    found = names(find([album], leave_out=album / "copies"))
    assert found == [
        ("photo", "a.jpg"),
        ("photo", "b.png"),
        ("photo", "broken.jpg"),
        ("photo", str(Path("day 1/c.webp"))),
        ("photo", str(Path("day 1/deep/d.png"))),
        ("video", str(Path("day 1/film.mp4"))),
        ("photo", "photo-without-suffix"),
    ]
    assert all(Path(item.where).is_file() for item in find([album]))


def test_a_video_called_a_photo_is_a_video_and_the_other_way_round(album, tmp_path):
    film, photo = tmp_path / "film.jpg", tmp_path / "photo.mp4"
    film.write_bytes((album / "day 1" / "film.mp4").read_bytes())
    photo.write_bytes((album / "a.jpg").read_bytes())
    assert names(find([film, photo])) == [("video", "film.jpg"), ("photo", "photo.mp4")]


@pytest.mark.parametrize("container", ["mkv", "avi", "ts", "mov"])
def test_videos_are_known_by_their_first_bytes(container, tmp_path):
    codec = "mpeg4" if container == "avi" else "libx264"
    ticks = range(3) if container == "avi" else range(0, 1536, 512)
    path = write_video(tmp_path / f"a.{container}", ticks, codec=codec, sound=None)
    assert names(find([tmp_path])) == [("video", path.name)]


def test_patterns_match_files_below_their_fixed_part(album, monkeypatch):
    assert names(find([f"{album}/**/*.png"], leave_out=None)) == [
        ("photo", "b.png"),
        ("photo", str(Path("copies/e.png"))),
        ("photo", str(Path("day 1/deep/d.png"))),
    ]
    monkeypatch.chdir(album)
    assert names(find(["*.jp*g"])) == [("photo", "a.jpg"), ("photo", "broken.jpg")]
    with pytest.raises(InputError, match=r"\*\.bmp: no photo or video"):
        list(find(["*.bmp"]))


@pytest.mark.parametrize("asked", ["", "**/*.png"])
def test_marked_copies_are_not_searched_unless_they_are_named(album, asked):
    copies = album / "copies"
    (copies / COPIES_FILE).write_text(json.dumps(COPIES))
    passed_over = []

    found = find([album / asked], on_copies=passed_over.append)

    assert "copies" not in {Path(item.name).parts[0] for item in found}
    assert passed_over == [copies]
    assert names(find([copies])) == [("photo", "e.png")]
    assert names(find([f"{copies}/*.png"])) == [("photo", "e.png")]


@pytest.mark.parametrize("content", ["{", '{"content": "something else"}'])
def test_other_folders_of_mien_are_searched(content, album):
    (album / "copies" / COPIES_FILE).write_text(content)
    assert ("photo", str(Path("copies/e.png"))) in names(find([album]))


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    path = tmp_path / "me [1].png"
    write_picture(path, drawn(0, 0))
    assert names(find([path])) == [("photo", "me [1].png")]


def test_no_two_items_have_one_name(album, tmp_path):
    other = tmp_path / "other" / "album"
    write_picture(other / "a.jpg", drawn(0, 0))
    inputs = [album, other, album / "a.jpg", other / "a.jpg", f"{album}/*.jpg"]
    found = [item.name for item in find(inputs)]
    assert len(set(found)) == len(found)
    assert str(Path("album/a.jpg")) in found
    assert str(Path("2-album/a.jpg")) in found
    assert {"a.jpg", "2-a.jpg"} < set(found)


def test_addresses_are_shown_without_their_password():
    (item,) = find(["rtsp://me:p@ss@10.0.0.7:554/front?x=1"])
    assert (item.kind, item.shown) == ("video", "rtsp://10.0.0.7:554/front?x=1")
    assert "p@ss" in item.where
    assert item.name == "10.0.0.7-554-front-x-1"
    assert Item.camera(2) == Item("camera", "2", "camera-2")
    assert Item.camera(2).shown == "camera 2"


def test_what_is_not_there_is_one_sentence(album, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "text.txt").write_text("")
    for given, said in ((empty, "no photo or video"), (tmp_path / "none", "no such file")):
        with pytest.raises(InputError, match=said) as failure:
            list(find([given]))
        assert str(given) in str(failure.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "an empty name"),  # not the folder one is in: an unset variable gives it
        ("a\0b.jpg", r"a\\x00b.jpg: no name has a NUL"),
        ("a" * 5000, "cannot be read"),
        ("https://me:secret@x/a.jpg?b=1", "^https://x/a.jpg.*: pictures are not downloaded"),
        ("file:///holiday/a.jpg", "give its path"),
    ],
)
def test_names_that_no_file_has_are_one_sentence(given, said):
    with pytest.raises(InputError, match=said):
        list(find([given]))


def test_every_format_of_pictures_counts_in_a_folder(tmp_path):
    for name in ("a.jp2", "b.jfif", "c.avif", "d.pbm", "e.heic"):
        (tmp_path / name).write_bytes(b"by its name alone")
    assert [item.name for item in find([tmp_path])] == [
        "a.jp2",
        "b.jfif",
        "c.avif",
        "d.pbm",
        "e.heic",
    ]


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders there")
def test_pipes_and_sockets_are_not_waited_for(tmp_path):
    """A pipe that nobody writes to made `mien predict` wait for ever."""
    folder = tmp_path / "photos"
    write_picture(folder / "b.png", drawn(0, 0))
    os.mkfifo(folder / "a.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # such addresses are short
        try:
            listening.bind("c.png")
        finally:
            os.chdir(here)
        assert names(find([folder])) == [("photo", "b.png")]
        for name in ("a.jpg", "c.png"):
            with pytest.raises(InputError, match="neither a file nor a folder"):
                list(find([folder / name]))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_told_of(album):
    (album / "day 1").chmod(0)
    try:
        with pytest.raises(InputError, match="no permission"):
            list(find([album]))
        told = []
        assert ("photo", "b.png") in names(find([album], on_error=told.append))
        assert len(told) == 1
    finally:
        (album / "day 1").chmod(0o755)


def test_a_folder_that_cannot_be_listed_does_not_end_the_search(album, monkeypatch):
    """The same for those who may list every folder."""
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "day 1":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    told = []
    assert ("photo", "b.png") in names(find([album], on_error=told.append))
    assert "day 1: no permission" in str(told[0])
    with pytest.raises(InputError, match="no permission"):
        list(find([album]))


def test_folders_linked_in_a_circle_end(album):
    (album / "day 1" / "round").symlink_to(album, target_is_directory=True)
    assert len(list(find([album]))) == 8


class MadeUpCamera:
    """What OpenCV would give for a camera: BGR pictures, one each call, then none."""

    def __init__(self, number, pictures):
        self.number, self.pictures, self.released = number, iter(pictures), False

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return self.number == 0

    def read(self):
        picture = next(self.pictures, None)
        return picture is not None, picture

    def release(self):
        self.released = True


def test_a_camera_gives_rgb_at_the_times_at_which_pictures_came():
    pictures = [drawn(*place(index))[..., ::-1] for index in range(4)]
    clock = iter([100.0, 100.5, 100.5, 101.0])
    made = MadeUpCamera(0, pictures)
    with Camera(0, capture=lambda number: made, clock=lambda: next(clock)) as camera:
        frames = list(camera)
        assert not made.released
    assert made.released
    assert np.array_equal(frames[3].pixels, drawn(*place(3)))
    seen = [frame.time_s for frame in frames]
    assert seen == pytest.approx([0, 0.5, 0.5, 1.0], abs=2e-3)
    assert all(later > earlier for earlier, later in itertools.pairwise(seen))
    assert "gave no more pictures after 1.0 s" in camera.problem


def test_opencv_reads_as_a_camera_does(tmp_path):
    import cv2

    path = write_video(tmp_path / "a.mp4", range(0, 5120, 512))
    with Camera(0, capture=lambda number: cv2.VideoCapture(str(path))) as camera:
        frames = list(camera)
    assert len(frames) == 10
    assert np.abs(frames[5].pixels.astype(int) - drawn(*place(5))).mean() < 5


def test_a_camera_that_is_not_there_is_one_sentence(capfd):
    made = MadeUpCamera(1, [])
    with pytest.raises(InputError, match="camera 1: there is none"):
        Camera(1, capture=lambda number: made)
    assert made.released
    with pytest.raises(InputError, match="camera 99: there is none"):
        Camera(99)
    assert capfd.readouterr() == ("", "")
    with (
        pytest.raises(InputError, match="camera 0: gives no picture"),
        Camera(0, capture=lambda number: MadeUpCamera(0, [])) as camera,
    ):
        list(camera)
