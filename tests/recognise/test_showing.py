"""Results show themselves: as a picture, a file, a short line, in a notebook."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_in import StandIn, photo

import mien
from mien.decoding import Decoded
from mien.errors import InputError
from mien.recognise.detect import Detection
from mien.recognise.draw import annotated
from mien.recognise.pictures import read_picture
from mien.recognise.recognizer import Recognizer
from mien.recognise.track import TrackedFace

BOX = (10.0, 20.0, 30.0, 40.0)


@pytest.fixture
def recognizer() -> Recognizer:
    return Recognizer(StandIn(), detector=lambda _: [Detection(BOX, 0.9)])


def test_faces_are_drawn_saved_and_shown_by_a_notebook(
    recognizer: Recognizer, tmp_path: Path
) -> None:
    faces = recognizer.recognize(photo())
    expected = annotated(read_picture(photo()), faces)
    assert np.array_equal(faces.plot(), expected)
    assert np.array_equal(mien.draw(photo(), faces), expected)
    assert faces.save(tmp_path / "marked.png") == tmp_path / "marked.png"
    assert np.array_equal(read_picture(tmp_path / "marked.png"), expected)
    content = faces._repr_png_()
    assert content is not None
    with Image.open(io.BytesIO(content)) as shown:
        assert shown.size == (512, 600)


def test_colours_in_opencvs_order_are_drawn_as_they_are(recognizer: Recognizer) -> None:
    pixels = read_picture(photo())
    faces = recognizer.recognize(np.ascontiguousarray(pixels[..., ::-1]), bgr=True)
    assert np.array_equal(faces.plot(), annotated(pixels, faces))
    assert np.array_equal(faces[0].crop(0), pixels[20:60, 10:40])


def test_a_photo_that_was_read_smaller_is_marked_where_its_faces_are(
    recognizer: Recognizer,
) -> None:
    half = Decoded(read_picture(photo())[::2, ::2], (512, 600))
    faces = recognizer.recognize(half)
    assert faces[0].box == tuple(2 * side for side in BOX)
    assert np.array_equal(faces.plot(), annotated(half.pixels, faces, [BOX]))
    assert np.array_equal(faces[0].crop(0), half.pixels[20:60, 10:40])


def test_a_face_is_cut_out_within_the_picture(recognizer: Recognizer) -> None:
    (face,) = recognizer.recognize(np.zeros((64, 45, 3), np.uint8))
    assert face.crop(margin=0).shape == (40, 30, 3)
    assert face.crop(margin=1).shape == (64, 45, 3)
    with pytest.raises(InputError, match="0 or more"):
        face.crop(margin=-1)
    with pytest.raises(InputError, match="margin inf"):
        face.crop(margin=float("inf"))


def test_a_line_says_who_is_there(recognizer: Recognizer) -> None:
    faces = recognizer.recognize(np.zeros((64, 64, 3), np.uint8))
    said = f"{faces[0].expression} {100 * faces[0].probability:.0f} %"
    assert repr(faces) == f"<Faces: 1 in 64 x 64: {said}>"
    assert repr(faces[0]) == f"<Face {said}, 30 x 40 at 10, 20>"
    assert repr(recognizer).startswith(f"<Recognizer {recognizer.card.name}: angry, ")
    sad = ((10, 20, 30, 40), 0.9, "sad", 0.419, {"sad": 0.419}, "probability")
    tracked = TrackedFace(*sad, track_id=3, raw=None)
    assert repr(tracked) == "<TrackedFace 3 sad? 41 %, 30 x 40 at 10, 20>"


def test_copies_go_to_other_processes_without_the_picture(recognizer: Recognizer) -> None:
    faces = recognizer.recognize(np.zeros((640, 640, 3), np.uint8))
    content = pickle.dumps(faces)
    assert len(content) < 10_000
    again = pickle.loads(content)  # noqa: S301
    assert again == faces
    assert copy.deepcopy(faces[0]) == dataclasses.replace(faces[0], origin=None)
    with pytest.raises(InputError, match=r"mien\.draw"):
        again.plot()
    assert again._repr_png_() is None


def test_a_photo_that_is_gone_is_named(recognizer: Recognizer, tmp_path: Path) -> None:
    file = tmp_path / "here.jpg"
    file.write_bytes(photo().read_bytes())
    faces = recognizer.recognize(file)
    file.unlink()
    with pytest.raises(InputError, match=r"here\.jpg: no such file"):
        faces.plot()
