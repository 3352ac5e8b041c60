"""How far may a face be turned, how little like a face may it look? Curves of faces that YuNet finds in pictures.

Validation faces are laid into larger pictures, the finder looks for them there, and those that it finds are cut out
as recognition does and counted as in `mien.evaluation.limits`. Shapes: N faces, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.evaluation.limits import CurvePoint, step
from mien.recognise.detect import Detection, crop
from mien.recognise.doubt import turn
from mien.recognise.model import FaceModel
from mien.recognise.yunet import YuNet

#: Upper ends of bins of the turn that the finder's eyes show, in degrees. It takes a face for more level than it is
#: (turned by 40 degrees, some show 7), so that a limit of the turn that was drawn would hardly ever speak.
TURNS = (5, 10, 15, 20, 25, 30, 40, 50, 180)
#: Lower ends of bins of the finder's score, the surest first; with its usual settings it shows those from 0.7 on.
SCORES, _USUAL = (0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4), 0.7
#: Of faces that stand level the finder finds so many, or its curves say nothing of such faces.
LEAST_FOUND = 0.5
_DRAWN = (0, 10, 20, 30, 40, 50, 60, 75, 90)
_CANVAS, _SIDE, _SOFT = 224, 112, 6
#: Pictures of each face for the curve of scores: few scores are low.
_ROUNDS = 3

#: A step, and the share of faces in it.
Found: TypeAlias = tuple[CurvePoint, float]
_Draw: TypeAlias = Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]


def scene(
    face_CHW: NDArray[np.uint8], turned: float, side: float, light: float
) -> NDArray[np.uint8]:
    """A gray or RGB face in the middle of a picture, uint8 RGB (H, W, 3).

    Args:
        face_CHW: uint8, 1 or 3 channels.
        turned: degrees, clockwise.
        side: pixels of its longer side.
        light: what its levels are multiplied by, 0..1.
    """
    face: NDArray[Any] = face_CHW.transpose(1, 2, 0).astype(np.float32)
    height, width = face.shape[:2]
    share = side / max(height, width)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -turned, share)
    matrix[:, 2] += (_CANVAS - width) / 2, (_CANVAS - height) / 2
    if share < 1:  # what shrinks is blurred first
        face = cv2.GaussianBlur(face, (0, 0), 0.4 / share)
    canvas = (_CANVAS, _CANVAS)
    drawn = cv2.warpAffine(face, matrix, canvas, borderMode=cv2.BORDER_REPLICATE)
    drawn = drawn.reshape(*canvas, -1)
    mask = cv2.warpAffine(np.outer(_ramp(height), _ramp(width)), matrix, canvas)[..., None]
    levels = (drawn * mask + face_CHW.mean() * (1 - mask)) * light
    return np.broadcast_to(np.rint(levels).clip(0, 255).astype(np.uint8), (*canvas, 3)).copy()


def _ramp(length: int) -> NDArray[np.float32]:
    """0 at both ends, 1 inside."""
    places = np.arange(length, dtype=np.float32) + 0.5
    ramp: NDArray[np.float32] = np.minimum(places, length - places).clip(0, _SOFT) / _SOFT
    return ramp


class _Looked:
    """What the finder found in scenes, and what the network said of it."""

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        # Upright and once: looking for turned and small faces too takes three times as long.
        self._find = YuNet(score=SCORES[-1], thorough=False)

    def __call__(
        self, faces_NCHW: NDArray[np.uint8], drawn: _Draw
    ) -> tuple[NDArray[np.int64], list[Detection], NDArray[np.float32]]:
        """(which faces were found, how, their probabilities)."""
        card = self._model.card
        places, faces, crops = [], [], []
        for place, face in enumerate(faces_NCHW):
            picture = drawn(place, face)
            near = filter(_middle, self._find(picture))
            found = max(near, key=lambda one: one.score, default=None)
            if found is not None:
                places.append(place)
                faces.append(found)
                crops.append(crop(picture, found, card.crop, card.input))
        none = np.empty((0, len(card.expressions)), np.float32)
        said = self._model(np.stack(crops)) if crops else none
        return np.array(places, np.int64), faces, said


def _middle(found: Detection) -> bool:
    x, y, width, height = found.box
    return math.hypot(x + (width - _CANVAS) / 2, y + (height - _CANVAS) / 2) < _SIDE / 3


def found_curves(
    model: FaceModel,
    faces_NCHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
) -> dict[str, list[Found]]:
    """Curves of `turn`, in degrees, and of `detection score`: of faces turned, shrunk and darkened at random.

    None of faces that the finder does not find even where they stand level.
    """
    looked = _Looked(model)
    _, level, _ = looked(faces_NCHW, lambda _, face: scene(face, 0, _SIDE, 1))
    if sum(one.score >= _USUAL for one in level) < LEAST_FOUND * len(faces_NCHW):
        return {}
    return {
        "turn": _by_turn(looked, faces_NCHW, labels_N, uncertain_below),
        "detection score": _by_score(looked, faces_NCHW, labels_N, uncertain_below),
    }


def _by_turn(
    looked: _Looked,
    faces_NCHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
) -> list[Found]:
    """A step for each bin of the turn that the finder's eyes show."""
    count = len(_DRAWN)
    faces, labels = np.repeat(faces_NCHW, count, axis=0), np.repeat(labels_N, count)
    places, found, said = looked(
        faces, lambda n, face: scene(face, _DRAWN[n % count] * (-1) ** (n // count), _SIDE, 1)
    )
    usual = np.array([one.score >= _USUAL for one in found], bool)
    turns = np.array([turn(one) for one in found])
    steps = _binned(turns[usual], TURNS, said[usual], labels[places[usual]], uncertain_below)
    return [(one, count / len(faces)) for one, count in steps]


def _by_score(
    looked: _Looked,
    faces_NCHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
) -> list[Found]:
    """A step for each bin of the finder's score."""
    rng = np.random.default_rng(0)
    faces, labels = np.tile(faces_NCHW, (_ROUNDS, 1, 1, 1)), np.tile(labels_N, _ROUNDS)
    turns = rng.uniform(-90, 90, len(faces))
    sides = np.exp(rng.uniform(math.log(14), math.log(_SIDE), len(faces)))
    lights = np.exp(rng.uniform(math.log(0.05), 0, len(faces)))
    places, found, said = looked(faces, lambda n, face: scene(face, turns[n], sides[n], lights[n]))
    worse = -np.array([one.score for one in found])
    steps = _binned(worse, [-least for least in SCORES], said, labels[places], uncertain_below)
    return [(one, count / len(faces)) for one, count in steps]


def _binned(
    worse_N: NDArray[np.float64],
    ends: Sequence[float],
    said_NK: NDArray[np.float32],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
) -> list[tuple[CurvePoint, int]]:
    """A step for each bin, whose upper ends rise, and its faces."""
    steps = []
    for low, high in zip((-math.inf, *ends), ends, strict=False):
        of = (worse_N > low) & (worse_N <= high)
        steps.append((step(abs(high), said_NK[of], labels_N[of], uncertain_below), int(of.sum())))
    return steps
