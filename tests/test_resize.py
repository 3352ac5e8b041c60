"""Faces brought to a model's size without torch: held against torch's own resizing and PIL's luma."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mien.data.synthetic import synthetic_faces
from mien.input_spec import InputSpec
from mien.models.preparing import resize, to_unit
from mien.resize import fitted, ready_crop, squared

FACES = np.stack([face for _, face in synthetic_faces(6, seed=1)])[:, None]
RGB = np.random.default_rng(0).integers(0, 256, (4, 3, 30, 44), dtype=np.uint8)


@pytest.mark.parametrize("size", [(48, 128), (128, 48), (24, 24), (13, 7), (47, 49), (1, 1)])
@pytest.mark.parametrize(("faces", "channels"), [(FACES, 1), (RGB, 3), (RGB, 1)])
def test_levels_are_those_of_torch_rounded(faces, channels, size):
    height, width = size
    ours = fitted(faces, InputSpec(channels, height, width))
    theirs = 255 * resize(to_unit(torch.tensor(faces), channels), height, width).numpy()
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-3


def test_a_face_that_fits_is_not_touched():
    assert fitted(FACES, InputSpec()) is FACES


def test_gray_is_repeated_for_a_model_of_three_channels():
    ours = fitted(FACES, InputSpec(channels=3))
    assert ours.shape == (6, 3, 48, 48)
    assert (ours == FACES).all()


def test_colours_become_the_gray_of_pil():
    ours = fitted(RGB, InputSpec(1, 30, 44))[:, 0]
    theirs = np.stack([Image.fromarray(f.transpose(1, 2, 0)).convert("L") for f in RGB])
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_no_face_is_no_face():
    assert fitted(FACES[:0], InputSpec(3, 20, 20)).shape == (0, 3, 20, 20)


def test_a_crop_is_made_square_by_repeating_its_border():
    wide = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], np.uint8)
    assert (squared(wide) == wide[[0, 1, 2, 2]]).all()
    assert (squared(wide[:, :1]) == wide[:, [0, 0, 0]]).all()
    tall = RGB[0].transpose(2, 1, 0)  # 44 x 30, three channels
    assert (squared(tall) == tall[:, [0] * 7 + [*range(30)] + [29] * 7]).all()


def test_a_square_crop_is_not_touched():
    face = FACES[0, 0]
    assert squared(face) is face
    assert (ready_crop(FACES[0, 0], InputSpec()) == FACES[:1]).all()


@pytest.mark.parametrize("colour", [(), (3,)])
def test_the_face_of_a_crop_that_is_not_square_keeps_its_proportions(colour):
    """Portrait crops were squeezed, as 100 x 140 pixels to 48 x 48."""
    picture = np.full((140, 100, *colour), 40, np.uint8)
    picture[50:90, 30:70] = 240  # as wide as high
    cut = ready_crop(picture, InputSpec())[0, 0] > 140
    rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
    assert len(rows) == len(columns) == 14
    assert rows[0] + rows[-1] == columns[0] + columns[-1] == 47


def test_a_panorama_is_reduced_before_it_is_made_square():
    assert squared(np.full((40, 40_000), 7, np.uint8)).shape == (2048, 2048)
    assert squared(np.full((40_000, 1, 3), 7, np.uint8)).shape == (2048, 2048, 3)
