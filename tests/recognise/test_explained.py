"""A face's explanation over its photo."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from stand_in import StandIn, photo

from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.recognise import detect
from mien.recognise.detect import Detection
from mien.recognise.pictures import read_picture
from mien.recognise.recognizer import Recognizer
from mien.resize import ready_crop


@pytest.fixture(scope="module")
def explained():
    (face,) = Recognizer(StandIn()).recognize(photo())
    return face, face.explain()


def test_it_is_a_picture_of_the_photos_size_coloured_where_the_face_is(explained):
    face, explanation = explained
    picture, plain = explanation.plot(), read_picture(photo())
    assert (picture.shape, picture.dtype) == (plain.shape, np.uint8)
    changed = (picture != plain).any(axis=2)
    x, y, width, height = (round(side) for side in face.box)
    assert changed[y : y + height, x : x + width].mean() > 0.9
    assert not changed[: y - height // 3].any()
    inside = picture[y : y + height, x : x + width].astype(int)
    redder = inside[..., 0] - inside[..., 2]
    assert redder.max() > 40  # what spoke for it
    assert (explanation.expression, explanation.probability) == (face.expression, face.probability)


def test_the_strongest_red_is_where_hiding_costs_most(explained):
    """The stand-in looks at bands of rows; the crop's rows are the photo's, turned a little."""
    face, explanation = explained
    x, y, width, height = face.box
    rows = explanation.mattered.mean(axis=1)
    part = explanation.plot()[:, round(x) : round(x + width)].astype(int)
    redder = (part[..., 0] - part[..., 2])[round(y) : round(y + height)].mean(axis=1)
    assert redder.argmax() / height == pytest.approx(rows.argmax() / 48, abs=0.15)


def test_the_legend_names_both_colours(explained):
    _, explanation = explained
    picture = explanation.plot()
    corner = picture[-90:, :60].reshape(-1, 3)
    for colour in ((255, 30, 30), (40, 90, 255), (255, 255, 255)):
        assert (corner == colour).all(axis=1).any(), colour


def test_it_shows_itself(explained, tmp_path):
    _, explanation = explained
    with Image.open(explanation.save(tmp_path / "why.png")) as written:
        assert written.size == (512, 600)
    assert explanation._repr_png_().startswith(b"\x89PNG")
    assert explanation.expression in repr(explanation)


@pytest.mark.parametrize("angle", [0.0, 30.0, -100.0])
def test_a_place_of_the_photo_is_found_in_the_crop(angle):
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[140:147, 190:197] = 255
    spec = InputSpec()
    face = Detection((130.0, 90.0, 100.0, 120.0), angle=angle)
    rule = StandIn().card.crop
    crop = detect.crop(picture, face, rule, spec)[0].astype(float)
    rows, columns = np.mgrid[:48, :48]
    seen = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    assert detect.to_crop(face, rule, spec) @ [193, 143, 1] == pytest.approx(seen, abs=0.3)


@pytest.mark.parametrize("size", [(300, 400), (400, 299), (300, 300)])
def test_a_place_of_a_ready_crop_is_found_in_the_networks_input(size):
    picture = np.zeros(size, np.uint8)
    picture[140:147, 190:197] = 255
    spec = InputSpec()
    crop = ready_crop(picture, spec)[0, 0].astype(float)
    rows, columns = np.mgrid[:48, :48]
    seen = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    assert detect.ready_to_crop(size[::-1], spec) @ [193, 143, 1] == pytest.approx(seen, abs=0.1)


def test_ready_crops_and_tiny_pictures_are_explained_too():
    for side in (24, 48, 500):
        face = np.full((side, side, 3), 60, np.uint8)
        face[side * 21 // 48 : side * 28 // 48] = 255
        (found,) = Recognizer(StandIn(), detector="none").recognize(face)
        assert found.explain().plot().shape == face.shape


def crowd() -> np.ndarray:
    """Four faces, side by side."""
    return np.concatenate([read_picture(photo())] * 4, axis=1)


def test_faces_of_a_photo_are_found_once_however_many_are_explained():
    looks = []

    def detector(pixels):
        looks.append(pixels.shape)
        return [Detection((512.0 * n + 150, 200, 200, 220)) for n in range(4)]

    faces = Recognizer(StandIn(), detector=detector).recognize(crowd())
    pictures = [face.explain().plot() for face in faces]
    assert len(looks) == 2  # by recognize, and once more to explain
    for face, picture in zip(faces, pictures, strict=True):
        changed = (picture != crowd()).any(axis=2)
        assert np.abs(changed[200:380].nonzero()[1].mean() - face.box[0] - 100) < 20


def test_a_photo_that_was_written_over_after_a_face_was_explained_is_refused(tmp_path):
    path = tmp_path / "them.png"
    Image.fromarray(crowd()).save(path)
    faces = Recognizer(StandIn()).recognize(path)
    assert len(faces) == 4
    faces[0].explain()
    Image.fromarray(crowd() // 2).save(path)
    with pytest.raises(InputError, match="not the one"):
        faces[1].explain()


def test_a_face_without_its_picture_says_so(tmp_path):
    path = tmp_path / "her.png"
    Image.open(photo()).save(path)
    (face,) = Recognizer(StandIn()).recognize(path)
    Image.new("RGB", (512, 600)).save(path)
    with pytest.raises(InputError, match="not the one"):
        face.explain()
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        face.explain()
    import pickle

    with pytest.raises(InputError, match="not kept"):
        pickle.loads(pickle.dumps(face)).explain()  # noqa: S301 (our own)
