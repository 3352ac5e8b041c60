"""Test-time views."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import InputError
from mien.evaluation.views import VIEWS, Glance, look


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), dtype=np.uint8)


def test_mirror_of_the_mirror_is_the_face(faces):
    mirror = Glance(mirrored=True)
    assert not np.array_equal(mirror(faces), faces)
    assert np.array_equal(mirror(mirror(faces)), faces)
    assert np.array_equal(mirror(faces)[0, 0, 3], faces[0, 0, 3, ::-1])


def test_ten_crops_are_44_of_48_and_all_different(faces):
    crops = [glance(faces) for glance in VIEWS["ten"]]
    assert len(crops) == 10
    assert {crop.shape for crop in crops} == {(5, 1, 44, 44)}
    assert len({crop.tobytes() for crop in crops}) == 10
    assert np.array_equal(crops[0], faces[:, :, :44, :44])
    assert np.array_equal(crops[3], faces[:, :, 4:, 4:])
    assert np.array_equal(crops[4], faces[:, :, 2:46, 2:46])
    assert np.array_equal(crops[9], faces[:, :, 2:46, 45:1:-1])


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 3, 5, 9), (2, 1, 128, 96)])
def test_every_view_takes_any_size(shape):
    faces = np.zeros(shape, dtype=np.uint8)
    for glances in VIEWS.values():
        for glance in glances:
            crop = glance(faces)
            assert crop.flags.c_contiguous
            assert min(crop.shape) >= 1


def test_views_average_their_glances_and_ask_once_for_each(faces):
    asked = []

    def predict(batch):
        asked.append(batch.shape)
        left = batch[:, 0, :, 0].mean(axis=1) / 255
        return np.stack([left, 1 - left], axis=1)

    answers = look(predict, faces, ["none", "flip", "ten"])
    assert len(asked) == 12
    mirrored = predict(faces[..., ::-1])
    assert answers["none"] == pytest.approx(predict(faces), abs=1e-6)
    assert answers["flip"] == pytest.approx((predict(faces) + mirrored) / 2, abs=1e-6)
    assert answers["ten"].sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_flip_does_not_care_which_way_the_face_looks(faces, predict):
    turned = np.ascontiguousarray(faces[..., ::-1])
    assert np.array_equal(
        look(predict, faces, ["flip"])["flip"], look(predict, turned, ["flip"])["flip"]
    )


def test_unknown_view_names_the_known(faces, predict):
    with pytest.raises(InputError, match="did you mean flip"):
        look(predict, faces, ["flipp"])
