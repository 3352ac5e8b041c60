"""`mien.predict`: one verb for photos, folders, videos, arrays and lists of them."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_video
from PIL import Image
from stand_in import StandIn, photo

import mien
from mien.errors import InputError
from mien.recognise import predict as verb
from mien.recognise.media import Item, find
from mien.recognise.recognizer import Recognizer


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(StandIn())


def test_a_photo_gives_one_result(recognizer: Recognizer) -> None:
    (result,) = mien.predict(photo(), model=recognizer)
    assert (result.source, result.frame, result.time_s, result.problem) == (
        str(photo()),
        0,
        None,
        None,
    )
    assert result.faces == recognizer.recognize(photo())
    assert result.plot().shape == (600, 512, 3)
    (row,) = result.rows()
    assert row["expression"] == result.faces[0].expression


def test_the_size_is_handed_on(recognizer: Recognizer) -> None:
    small = np.asarray(Image.open(photo()).resize((64, 75)))
    found = [len(mien.predict(small, model=recognizer, size=size)[0].faces) for size in (None, 16)]
    assert found == [1, 0]
    with pytest.raises(InputError, match="16 to 4096"):
        mien.predict(small, model=recognizer, size=0)


def test_films_are_looked_at_once(recognizer: Recognizer, tmp_path: Path) -> None:
    """As the command does, whose speed this is."""
    frames = [np.ascontiguousarray(np.rot90(np.asarray(Image.open(photo()))))] * 4
    film = tmp_path / "a.mp4"
    write_video(film, range(0, 400, 100), size=(600, 512), pictures=iter(frames))
    assert recognizer.recognize(frames[0])
    assert not any(result.faces for result in mien.predict(film, model=recognizer))


def test_a_broken_file_among_others_is_told_and_ends_nothing(
    recognizer: Recognizer, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "b.jpg").write_bytes(photo().read_bytes())
    broken, whole = mien.predict(tmp_path, model=recognizer)
    assert broken.problem is not None
    assert "a.jpg" in broken.problem
    assert list(broken.faces) == []
    assert whole.problem is None
    assert len(whole.faces) == 1
    with pytest.raises(InputError, match=r"a\.jpg"):
        mien.predict(tmp_path / "a.jpg", model=recognizer)


@pytest.mark.parametrize("spelled", ["bad.jpg", "./bad.jpg", ".//bad.jpg", "~/bad.jpg"])
def test_an_only_photo_that_cannot_be_read_is_an_error_however_it_is_spelled(
    spelled: str, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with pytest.raises(InputError, match=r"bad\.jpg"):
        mien.predict(spelled, model=recognizer)


def test_lists_mix_what_there_is(recognizer: Recognizer) -> None:
    blank = np.zeros((80, 80, 3), np.uint8)
    results = mien.predict([photo(), blank, photo().read_bytes()], model=recognizer)
    assert [len(result.faces) for result in results] == [1, 0, 1]
    assert [result.source for result in results[1:]] == ["picture 2", "picture 3"]


def test_a_film_gives_its_frames_one_at_a_time(recognizer: Recognizer, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    write_video(film, range(0, 1200, 100))
    results = mien.predict(film, model=recognizer, stream=True)
    first = next(results)
    assert (first.frame, first.time_s) == (0, 0.0)
    frames = [first, *results]
    assert [result.frame for result in frames] == list(range(12))
    assert first.plot().ndim == 3


def test_a_list_of_a_films_results_keeps_a_limited_part_of_its_pictures(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kept every frame: gigabytes for a minute of film."""
    film = write_video(tmp_path / "film.mp4", range(0, 500, 100), sound=None)
    frame = next(mien.predict(film, model=recognizer, stream=True)).plot()
    monkeypatch.setattr(verb, "_KEPT_BYTES", 2 * frame.nbytes)

    results = mien.predict(film, model=recognizer)

    assert [result.origin is None for result in results] == [False, False, True, True, True]
    assert results[1].plot().shape == frame.shape
    with pytest.raises(InputError, match=r"not kept.*stream=True"):
        results[2].plot()
    streamed = mien.predict(film, model=recognizer, stream=True)
    assert all(result.origin is not None for result in streamed)


def test_a_list_in_the_list_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(InputError, match="a list among the sources; give them all in one list"):
        mien.predict([[photo()]], model=recognizer)  # type: ignore[list-item]


def test_the_home_folder_is_meant_by_a_wave(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mien.predict` and films read `~`; photos of a Recognizer did not, and `save` made a folder of that name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    recognizer.recognize(photo()).save("~/marked.png")

    assert recognizer.recognize("~/marked.png").size == recognizer.recognize(photo()).size
    with pytest.raises(InputError, match=r"~nobody-of-this-name/a\.jpg: no such file"):
        mien.predict("~nobody-of-this-name/a.jpg", model=recognizer)


def test_a_photo_is_not_replaced_by_its_copy(recognizer: Recognizer, tmp_path: Path) -> None:
    original = photo().read_bytes()
    (tmp_path / "me.jpg").write_bytes(original)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "me.jpg")
    faces = recognizer.recognize(tmp_path / "me.jpg")
    of_pillow = recognizer.recognize(Image.open(tmp_path / "me.jpg"))

    for found in (faces, of_pillow):
        for name in ("me.jpg", "link.jpg"):
            with pytest.raises(InputError, match="the copy would replace the photo"):
                found.save(tmp_path / name)

    assert (tmp_path / "me.jpg").read_bytes() == original
    assert faces.save(tmp_path / "marked.jpg").exists()
    assert faces.save(tmp_path / "marked.jpg").exists()


def test_a_data_url_is_a_picture(recognizer: Recognizer) -> None:
    text = f"data:image/jpeg;base64,{base64.b64encode(photo().read_bytes()).decode()}"
    alone, *rest = mien.predict(text, model=recognizer) + mien.predict([text], model=recognizer)
    assert (alone.source, len(alone.faces)) == ("picture 1", 1)
    assert rest == [alone]


def test_the_url_of_a_photo_is_no_stream(recognizer: Recognizer) -> None:
    for stream in (False, True):
        with pytest.raises(InputError, match="not downloaded; save it"):
            mien.predict("https://example.org/a.jpg", model=recognizer, stream=stream)


def test_what_has_no_end_is_asked_for_as_a_stream() -> None:
    for endless in (0, "0", "rtsp://camera/front", [photo(), 1]):
        with pytest.raises(InputError, match="stream=True"):
            mien.predict(endless)  # type: ignore[arg-type]


def test_what_is_not_there_is_said_at_once(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jpg"):
        mien.predict([photo(), tmp_path / "none.jpg"], model=recognizer, stream=True)
    with pytest.raises(InputError, match="every=0"):
        mien.predict(photo(), model=recognizer, every=0)


def test_a_number_is_a_camera_unless_a_file_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(find(["0"])) == [Item.camera(0)]
    Path("0").write_bytes(photo().read_bytes())
    (item,) = find(["0"])
    assert (item.kind, item.where) == ("photo", "0")
