"""Where faces are, and how they are cut out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from stand_in import photo

from mien.card import CropRule
from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.recognise.detect import Detection, crop, crops
from mien.recognise.pictures import read_picture
from mien.resize import ready_crop

COLOUR = InputSpec(3, 48, 48, (0.5,), (0.5,))
#: The box itself, made square.
BOX = CropRule(margin=0, shift_y=0, align=False)


@pytest.fixture(scope="module")
def hopper():
    return read_picture(photo())


def ramps(height: int, width: int) -> np.ndarray:
    """A picture whose red is a pixel's column and whose green is its row."""
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns, rows, np.zeros_like(rows)]).astype(np.uint8)


@pytest.mark.parametrize(
    "fields",
    [
        {"box": (0, 0, 0, 5)},
        {"box": (0, 0, 5, -5)},
        {"box": (0, math.nan, 5, 5)},
        {"box": (0, 0, math.inf, 5)},
        {"box": (0, 0, 5)},
        {"box": "left"},
        {"box": (0, 0, 5, 5), "score": 1.01},
        {"box": (0, 0, 5, 5), "score": math.nan},
        {"box": (0, 0, 5, 5), "landmarks": ((1, 2),)},
        {"box": (0, 0, 5, 5), "landmarks": ((1, math.nan),) * 5},
    ],
    ids=str,
)
def test_detections_that_are_none_are_refused(fields):
    with pytest.raises(InputError, match="a detector gave"):
        Detection(**fields)


def test_a_detection_takes_arrays():
    of_arrays = Detection(np.float32([1, 2, 3, 4]), np.float32(0.5), np.zeros((5, 2)))

    assert of_arrays == Detection((1, 2, 3, 4), 0.5, ((0.0, 0.0),) * 5)


# Cutting out


def test_a_box_of_the_networks_size_is_cut_out_to_the_pixel(hopper):
    face = Detection((200, 100, 48, 48))

    assert np.array_equal(
        crop(hopper, face, BOX, COLOUR), hopper[100:148, 200:248].transpose(2, 0, 1)
    )
    gray = np.asarray(Image.fromarray(hopper[100:148, 200:248]).convert("L"))
    assert np.abs(crop(hopper, face, BOX, InputSpec())[0].astype(int) - gray).max() <= 1


@pytest.mark.parametrize("times", [2, 3, 7, 12])
def test_what_shrinks_is_averaged(hopper, times):
    """Nothing is skipped: each pixel is the mean of its block."""
    side = 24 * times
    spec = InputSpec(3, 24, 24, (0.5,), (0.5,))
    block = hopper[40 : 40 + side, 60 : 60 + side].astype(float)
    means = block.reshape(24, times, 24, times, 3).mean(axis=(1, 3)).transpose(2, 0, 1)

    cut = crop(hopper, Detection((60, 40, side, side)), BOX, spec)

    assert np.abs(cut - means).max() <= 0.51


def test_far_too_many_pixels_are_averaged_too():
    checks = np.kron(
        np.indices((100, 100)).sum(axis=0) % 2, np.ones((20, 20), np.uint8)
    )  # fmt: skip
    picture = np.repeat((checks * 200).astype(np.uint8)[..., None], 3, axis=2)

    cut = crop(picture, Detection((0, 0, 2000, 2000)), BOX, InputSpec(3, 10, 10))

    assert np.abs(cut.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.25])
@pytest.mark.parametrize("shift", [-0.1, 0.0, 0.2])
def test_margin_and_shift_are_shares_of_the_longer_side(margin, shift):
    picture = ramps(250, 250)
    face = Detection((100, 80, 40, 60))

    cut = crop(picture, face, CropRule(margin, shift, align=False), COLOUR).astype(float)

    side = 60 * (1 + 2 * margin)
    # Pixel i of 48 looks at the middle of the i-th 48th of the side; a pixel's middle is at + 0.5.
    offsets = (np.arange(48) + 0.5) / 48 * side - side / 2 - 0.5
    assert np.abs(cut[0] - (120 + offsets)).max() < 0.6
    assert np.abs(cut[1] - (110 + 60 * shift + offsets)[:, None]).max() < 0.6


def test_eyes_are_levelled():
    """Turned back by the eyes: what lies along them becomes a row."""
    picture = ramps(250, 250)
    turn = math.radians(25)
    along, down = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])  # fmt: skip
    centre = np.array([120.0, 110.0])
    eyes = [tuple(centre - 12 * along - 8 * down), tuple(centre + 12 * along - 8 * down)]
    face = Detection((90, 80, 60, 60), 1.0, (*eyes, (0, 0), (0, 0), (0, 0)))

    cut = crop(picture, face, CropRule(0.1, 0.05, align=True), COLOUR).astype(float)

    side = 60 * 1.2
    offsets = (np.arange(48) + 0.5) / 48 * side - side / 2
    places = (
        centre - 0.5 + 3 * down + offsets[None, :, None] * along + offsets[:, None, None] * down
    )
    assert np.abs(cut[:2] - places.transpose(2, 0, 1)).max() < 0.6
    level = crop(picture, face, CropRule(0.1, 0.05, align=False), COLOUR)
    assert np.abs(level[:2] - places.transpose(2, 0, 1)).max() > 5


def test_without_landmarks_nothing_is_turned(hopper):
    face = Detection((150, 100, 200, 210))

    assert np.array_equal(
        crop(hopper, face, CropRule(0, 0, align=True), COLOUR),
        crop(hopper, face, CropRule(0, 0, align=False), COLOUR),
    )


def test_beyond_the_border_the_border_goes_on():
    picture = ramps(100, 100)

    cut = crop(picture, Detection((-24, -24, 48, 48)), BOX, COLOUR)

    assert cut[:2, :24, :24].max() == 0
    assert np.array_equal(cut[0, 30, 24:], np.arange(24))
    assert np.array_equal(cut[0], np.tile(cut[0, 0], (48, 1)))


def test_a_network_that_is_not_square_gets_its_own_proportions():
    cut = crop(ramps(200, 200), Detection((60, 60, 80, 80)), BOX, InputSpec(3, 80, 40))

    assert cut.shape == (3, 80, 40)
    assert np.array_equal(cut[0, 0], np.arange(80, 120))
    assert np.array_equal(cut[1, :, 0], np.arange(60, 140))


@pytest.mark.parametrize(
    "box", [(-1e9, -1e9, 2e9, 2e9), (0, 0, 1e-6, 1e-6), (99, 99, 1e-3, 1e5), (0, 0, 40_000, 1)]
)
def test_absurd_boxes_are_cut_out_all_the_same(box):
    assert crop(ramps(100, 100), Detection(box), BOX, COLOUR).shape == COLOUR.shape


def test_a_picture_wider_than_opencv_can_turn_is_cut_out():
    picture = np.full((40, 40_000, 3), 50, np.uint8)

    assert (crop(picture, Detection((0, 0, 40_000, 40)), BOX, COLOUR) == 50).all()
    assert (ready_crop(picture, COLOUR) == 50).all()


def test_a_face_outside_of_the_picture_is_refused():
    with pytest.raises(InputError, match="outside of the picture of 100 x 100 pixels"):
        crop(ramps(100, 100), Detection((200, 0, 50, 50)), BOX, COLOUR)


def test_several_crops_and_none(hopper):
    faces = [Detection((100, 100, 90, 100)), Detection((150, 120, 60, 50))]

    cut = crops(hopper, faces, BOX, COLOUR)

    assert cut.shape == (2, 3, 48, 48)
    assert np.array_equal(cut[1], crop(hopper, faces[1], BOX, COLOUR))
    assert crops(hopper, [], BOX, COLOUR).shape == (0, 3, 48, 48)


def test_a_ready_crop_is_what_training_was_shown(hopper):
    from mien.models.preparing import resize, to_unit

    torch = pytest.importorskip("torch")
    face = np.ascontiguousarray(hopper[100:340, 150:390])
    batch = torch.from_numpy(face.transpose(2, 0, 1)[None].copy())
    expected = resize(to_unit(batch, 1), 48, 48)[0].numpy() * 255

    assert np.abs(ready_crop(face, InputSpec())[0] - expected).max() < 0.51
    assert np.array_equal(
        ready_crop(hopper[:48, :48], COLOUR)[0], hopper[:48, :48].transpose(2, 0, 1)
    )
