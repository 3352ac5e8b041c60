"""Curves of faces made worse, and the limits read off them."""

from __future__ import annotations

import numpy as np
import pytest

from mien.evaluation.limits import (
    SPREADS,
    Step,
    curve,
    darker,
    flatter,
    limit_of,
    measured_curves,
    smaller,
    spread_of,
)

RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (60, 1, 48, 48)).astype(np.uint8)
LABELS = np.zeros(60, np.int64)


def test_faces_are_brought_to_a_spread_and_those_flatter_stay():
    for worsen in (flatter, darker):
        assert spread_of(worsen(FACES, 8)) == pytest.approx(8, abs=0.1)
        assert (worsen(FACES, 200) == FACES).all()
    assert flatter(FACES, 8).mean() == pytest.approx(FACES.mean(), abs=0.5)
    assert darker(FACES, 8).mean() < 16
    flat = np.full((1, 3, 8, 8), 7, np.uint8)
    assert (darker(flat, 5) == flat).all()


def test_a_smaller_face_keeps_its_place_and_loses_its_detail():
    face = np.zeros((1, 1, 48, 48), np.uint8)
    face[..., 24:] = 200
    shrunk = smaller(face, 8)
    assert shrunk.shape == face.shape
    assert (shrunk[..., :18] == 0).all()
    assert (shrunk[..., 30:] == 200).all()
    assert spread_of(smaller(FACES, 6)).max() < spread_of(FACES).min() / 2


def steps(*precisions):
    return [Step(10.0 - n, 0.5, 0.5, value) for n, value in enumerate(precisions)]


@pytest.mark.parametrize(
    ("precisions", "limit"),
    [
        ((0.9, 0.8, 0.7, 0.9), 9),  # what comes after the first fall does not count
        ((0.9, 0.8, 0.76), 8),  # never too bad: the last that was measured
        ((0.6, 0.9), 10),
        ((0.9, None, 0.8, 0.5), 8),  # too few sure answers to say
    ],
)
def test_a_limit_is_the_last_step_before_the_fall(precisions, limit):
    assert limit_of(steps(*precisions)) == limit


def sees_light(faces_NCHW):
    """Right and sure of it where a face is spread enough; else wrong, and as sure."""
    seen = spread_of(faces_NCHW) > 10
    return np.where(seen[:, None], [0.9, 0.1], [0.1, 0.9])


def test_curves_find_where_a_network_goes_blind():
    curves = measured_curves(sees_light, FACES, LABELS, 0.5)
    assert limit_of(curves["dark"]) == limit_of(curves["flat"]) == 11
    assert [one.amount for one in curves["dark"]] == list(SPREADS)
    assert curves["dark"][0] == Step(24, 1.0, 1.0, 1.0)
    assert curves["dark"][-1] == Step(2, 0.0, 1.0, 0.0)


def test_of_few_sure_answers_there_is_no_precision():
    (one,) = curve(sees_light, FACES[:10], LABELS[:10], 0.5, darker, [24])
    assert (one.sure, one.precision) == (1.0, None)
