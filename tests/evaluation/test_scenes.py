"""Faces laid into pictures, and the curves of those that the finder finds there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.evaluation.scenes import SCORES, TURNS, found_curves, scene
from mien.recognise.model import FaceModel
from mien.recognise.naming import packaged_model


@pytest.fixture(scope="module")
def model():
    return FaceModel.open(packaged_model(), threads=1)


@pytest.fixture(scope="module")
def face():
    """A face cut out of a photo as FER-2013's are: gray, 48 x 48."""
    package = Path(importlib.util.find_spec("matplotlib").origin).parent
    photo = package / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    cut = Image.open(photo).convert("L").crop((178, 125, 358, 325))
    return np.asarray(cut.resize((48, 48), Image.Resampling.BOX))[None]


def test_a_scene_holds_the_face_upright_and_in_its_middle():
    face = np.zeros((1, 48, 48), np.uint8)
    face[:, :, 24:] = 200
    picture = scene(face, 0, 96, 1)
    assert (picture.shape, picture.dtype) == ((224, 224, 3), np.uint8)
    assert (picture[84:140, 84:104] < 5).all()
    assert (picture[84:140, 120:140] > 195).all()
    assert (picture[:60] == 100).all()  # around it, its mean
    turned = scene(face, 90, 96, 0.5)  # clockwise: the right half is below
    assert (turned[84:104, 84:140] < 5).all()
    assert abs(turned[120:140, 84:140].astype(int) - 100).max() < 5


def test_colours_stay_in_their_order():
    face = np.zeros((3, 48, 40), np.uint8)
    face[0] = 250
    assert scene(face, 0, 96, 1)[112, 112].tolist() == [250, 0, 0]


def test_faces_are_counted_by_the_turn_and_the_score_that_the_finder_shows(model, face):
    curves = found_curves(model, np.repeat(face[None], 4, axis=0), np.zeros(4, np.int64), 0.0)
    turns, scores = curves["turn"], curves["detection score"]
    assert [one.amount for one, _ in turns] == list(TURNS)
    assert [one.amount for one, _ in scores] == list(SCORES)
    level, found = turns[0]
    assert found > 1 / 10  # those that were drawn level, one of nine
    assert (level.sure, level.precision) == (1.0, None)  # so few are too few to say
    assert sum(found for _, found in turns[1:]) > 1 / 10  # and others are seen turned
    assert sum(found for _, found in scores) <= 1


def test_what_is_no_face_to_the_finder_has_no_curves(model):
    noise = np.random.default_rng(0).integers(0, 256, (6, 1, 48, 48)).astype(np.uint8)
    assert found_curves(model, noise, np.zeros(6, np.int64), 0.5) == {}
