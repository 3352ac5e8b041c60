"""What is drawn on a picture can be read and leaves the rest of it alone."""

from __future__ import annotations

import numpy as np
import pytest
from make_videos import HAPPY, Found
from PIL import Image

from mien.colours import EXPRESSION_COLOURS, colours_of
from mien.errors import InputError
from mien.recognise.draw import annotated, write_picture
from mien.recognise.pictures import read_picture
from mien.recognise.track import FaceTracker

UNSURE = {"sad": 0.3, "happy": 0.35, "neutral": 0.35}


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def colour(place, names=tuple(HAPPY)):
    found = colours_of(names)[place]
    return np.array([int(found[at : at + 2], 16) for at in (1, 3, 5)], np.uint8)


def changed(picture, faces):
    before = picture.copy()
    drawn = annotated(picture, faces)
    assert np.array_equal(picture, before), "the picture given was drawn on"
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    return drawn, (drawn != picture).any(axis=2)


@pytest.mark.parametrize("side", [120, 480, 1080, 4320])
def test_only_line_and_label_are_touched(side):
    box = (0.4 * side, 0.45 * side, 0.3 * side, 0.25 * side)
    drawn, touched = changed(noise(side, round(side * 1.5)), [Found(box, HAPPY)])
    x, y, width, height = (round(part) for part in box)
    near = max(5, round(side / 130) + 3)
    assert not touched[y + 1 : y + height - 1, x + 1 : x + width - 1].any(), "inside the box"
    allowed = np.zeros_like(touched)
    allowed[y - near : y + height + near, x - near : x + width + near] = True
    letters = max(24, 0.08 * side)  # the label stands above the box, as wide as its text
    allowed[y - round(near + letters) : y, x - near : x + round(6 * letters)] = True
    assert not (touched & ~allowed).any()
    # Four sides of the expression's colour, and a label filled with it.
    happy = (drawn == colour(1)).all(axis=2)
    middle_x, middle_y = x + width // 2, y + height // 2
    for strip in (
        happy[y - near : y, middle_x],
        happy[y + height : y + height + near, middle_x],
        happy[middle_y, x - near : x],
        happy[middle_y, x + width : x + width + near],
    ):
        assert strip.any()
    assert happy[y - round(letters) : y - near, x : x + width].sum() > side


def test_letters_grow_with_the_picture_and_never_vanish():
    heights = []
    for side in (100, 400, 1600):
        box = (0.3 * side, 0.5 * side, 0.4 * side, 0.3 * side)
        drawn, _ = changed(noise(side, side), [Found(box, HAPPY)])
        label = (drawn[: round(0.5 * side) - 4] == colour(1)).all(axis=2).any(axis=1)
        heights.append(int(label.sum()))
    assert heights[0] >= 11
    assert heights[2] >= 3.5 * heights[1] > 3.5 * heights[0] * 0.9


@pytest.mark.parametrize(
    ("box", "below"),
    [((60, 2, 80, 100), True), ((60, 90, 80, 109), False), ((-20, 80, 80, 100), False)],
    ids=["at the top", "at the bottom", "over the left"],
)
def test_the_label_stays_in_the_picture(box, below):
    drawn, _ = changed(noise(200, 200), [Found(box, HAPPY)])
    rows = (drawn == colour(1)).all(axis=2).sum(axis=1)
    label = np.nonzero(rows > 20)[0]  # a line is thinner, its upper and lower side too
    inside_box = (label > box[1]) & (label < box[1] + box[3])
    assert len(label) >= 11
    assert not inside_box.any()
    assert ((label > box[1] + box[3]).sum() > 5) == below


def test_labels_keep_off_one_another_and_off_faces():
    """Three in a row, too near for their labels side by side; the middle one goes below."""
    names = ["sad", "happy", "neutral"]
    boxes = [(20, 80, 48, 60), (80, 80, 50, 64), (142, 80, 48, 60)]
    faces = [
        Found(box, {name: float(name == named) for name in names})
        for box, named in zip(boxes, names, strict=True)
    ]
    picture = noise(240, 240)

    def pixels(drawn):
        return [int((drawn == colour(place)).all(axis=2).sum()) for place in range(3)]

    together, touched = changed(picture, faces)

    alone = [pixels(changed(picture, [face])[0])[place] for place, face in enumerate(faces)]
    assert pixels(together) == alone  # nothing is covered
    for x, y, width, height in boxes:
        assert not touched[y + 1 : y + height - 1, x + 1 : x + width - 1].any()


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (20, 300), (300, 12)])
def test_pictures_too_small_for_a_label_are_drawn_on_all_the_same(size):
    height, width = size
    drawn, touched = changed(noise(*size), [Found((0, 0, width, height), HAPPY)])
    assert drawn.shape == (*size, 3)
    assert touched.any()


def test_a_face_that_is_uncertain_has_corners_and_a_question_mark():
    box = (60, 60, 90, 90)
    sure, _ = changed(noise(240, 240), [Found(box, HAPPY)])
    unsure, touched = changed(noise(240, 240), [Found(box, UNSURE)])
    assert not touched[60:150, 55:60][40:50].any(), "the middle of a side"
    assert touched[56:60, 56:70].all(axis=1).any(), "a corner"
    label = np.s_[35:56, 50:200]
    assert not np.array_equal(sure[label], unsure[label])


def test_the_track_is_named():
    plain = Found((60, 60, 90, 90), HAPPY)
    tracked = FaceTracker().update(0.0, [plain])
    one, _ = changed(noise(240, 240), [plain])
    two, _ = changed(noise(240, 240), tracked)
    assert (two == colour(1)).all(axis=2).sum() > (one == colour(1)).all(axis=2).sum()


def test_no_face_changes_nothing():
    _, touched = changed(noise(50, 60), [])
    assert not touched.any()


def test_every_colour_can_be_read_from():
    """Letters against their ground: a contrast of 4.5 is what WCAG asks for."""
    names = list(EXPRESSION_COLOURS)
    for place in range(len(names)):
        face = Found((50, 60, 90, 90), {name: float(name == names[place]) for name in names})
        drawn, _ = changed(np.full((240, 240, 3), 128, np.uint8), [face])
        label = drawn[40:54, 50:110].reshape(-1, 3)
        ink = [255 if label.min(axis=1).max() > 200 else 0] * 3
        assert (label == colour(place, names)).all(axis=1).any()
        lights = sorted(luminance(np.array(one)) for one in (ink, colour(place, names)))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) > 4.5


def luminance(rgb):
    linear = ((rgb / 255 + 0.055) / 1.055) ** 2.4
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_pictures_are_written_as_their_name_says(tmp_path):
    picture = noise(20, 30)
    write_picture(tmp_path / "new" / "a.png", picture)
    assert np.array_equal(read_picture(tmp_path / "new" / "a.png"), picture)
    write_picture(tmp_path / "a.jpeg", picture)
    with Image.open(tmp_path / "a.jpeg") as image:
        assert image.format == "JPEG"
    with pytest.raises(InputError, match=r"name it \.png"):
        write_picture(tmp_path / "a.heic", picture)
    with pytest.raises(InputError, match="a folder is needed"):
        write_picture(tmp_path / "a.jpeg" / "b.png", picture)
