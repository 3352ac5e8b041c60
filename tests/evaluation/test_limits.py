"""Curves of faces made worse, and the limits read off them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mien.evaluation.limits import (
    BLURRING,
    DETAILS,
    NOISES,
    NOISY,
    SPREADS,
    CurvePoint,
    DetailCurves,
    darker,
    detail_curves,
    flatter,
    limit_of,
    measured_curves,
    smaller,
    spread_of,
)
from mien.recognise.doubt import detail

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
    return [CurvePoint(10.0 - n, 0.5, 0.5, value) for n, value in enumerate(precisions)]


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
    assert curves["dark"][0] == CurvePoint(24, 1.0, 1.0, 1.0)
    assert curves["dark"][-1] == CurvePoint(2, 0.0, 1.0, 0.0)


def test_of_few_sure_answers_there_is_no_precision():
    one = measured_curves(sees_light, FACES[:10], LABELS[:10], 0.5)["dark"][0]
    assert (one.sure, one.precision) == (1.0, None)


def soft(count, sigma):
    """Faces of smooth noise; the larger sigma, the less detail."""
    drawn = RNG.normal(size=(count, 1, 48, 48)).astype(np.float32)
    blurred = np.stack([cv2.GaussianBlur(face[0], (0, 0), sigma)[None] for face in drawn])
    return (
        (128 + 40 * blurred / blurred.std(axis=(1, 2, 3), keepdims=True))
        .clip(0, 255)
        .astype(np.uint8)
    )


def blind_beyond(limit, *, most):
    """Sure of all; right where a face's detail lies within a limit."""

    def predict(faces_NCHW):
        details_N = np.array([detail(face) for face in faces_NCHW])
        seen_N = details_N <= limit if most else details_N >= limit
        return np.where(seen_N[:, None], [0.9, 0.1], [0.1, 0.9])

    return predict


@pytest.mark.parametrize("most", [False, True])
def test_the_limit_of_detail_is_where_a_network_goes_blind(most):
    faces, digests = soft(60, 2.2), RNG.integers(0, 2**63, (60, 2)).astype(np.uint64)
    blind = blind_beyond(2.5 if most else 0.1, most=most)
    curves = detail_curves(blind, faces, digests, LABELS, 0.5)[most]
    assert curves.limits == (NOISES if most else DETAILS)
    assert {name.split()[0] for name in curves.steps} == set(NOISY if most else BLURRING)
    assert curves.limit() == pytest.approx(2.5 if most else 0.1, rel=0.35)
    at = curves.limits.index(curves.limit())
    for steps in curves.steps.values():
        one = steps[at]
        assert one.sure < 0.2 or one.precision is None or one.precision >= 0.75


def test_a_limit_of_detail_spares_faces_as_they_are():
    bad = (
        CurvePoint(0.01, 0.5, 0.9, 0.5),
        CurvePoint(0.02, 0.5, 0.9, 0.6),
        CurvePoint(0.03, 0.5, 0.9, 0.8),
    )
    assert DetailCurves((0.01, 0.02, 0.03), {"blur 3": bad}, (0.0, 0.0, 0.0)).limit() == 0.03
    assert DetailCurves((0.01, 0.02, 0.03), {"blur 3": bad}, (0.0, 0.01, 0.2)).limit() == 0.02
    assert DetailCurves((0.01, 0.02, 0.03), {"blur 3": bad}, (0.3, 0.4, 0.5)).limit() is None
    few = tuple(replace(one, sure=0.1) for one in bad)
    assert DetailCurves((0.01, 0.02, 0.03), {"blur 3": few}, (0.0, 0.0, 0.0)).limit() == 0.01
