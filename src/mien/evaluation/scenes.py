"""Measure limits of a face's turn and of its detection score, on faces that YuNet finds in pictures.

Validation faces are put into larger pictures; the detector looks for them; found faces are cropped as in recognition
and scored as in `mien.evaluation.limits`. Shapes: N faces, C channels, H x W pixels.
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

#: Upper ends of bins of the turn, in degrees, as measured between the detected eyes. The detector underestimates turns
#: (a face drawn at 40 degrees may measure 7), so a limit of the drawn turn would hardly ever apply.
TURNS = (5, 10, 15, 20, 25, 30, 40, 50, 180)
#: Lower ends of bins of the detector's score, the highest first; and the detector's usual threshold.
SCORES, _USUAL = (0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4), 0.7
#: The least share of level faces that the detector must find; with less, its curves do not apply to such faces.
LEAST_FOUND = 0.5
#: Drawn turns in degrees; then sides of the picture and the face, and the width of the face's soft border, in pixels.
_DRAWN = (0, 10, 20, 30, 40, 50, 60, 75, 90)
_CANVAS, _SIDE, _SOFT = 224, 112, 6
#: Pictures of each face for the curve of scores; several, because low scores are rare.
_ROUNDS = 3

#: A step, and the share of faces in its bin.
Found: TypeAlias = tuple[CurvePoint, float]
_Draw: TypeAlias = Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]


def scene(
    face_CHW: NDArray[np.uint8], turned: float, side: float, light: float
) -> NDArray[np.uint8]:
    """Draw a face in the middle of a picture: uint8 RGB (H, W, 3).

    Args:
        face_CHW: uint8 (C, H, W), gray or RGB.
        turned: turn of the face in degrees, clockwise.
        side: longer side of the face in pixels.
        light: factor on all levels, 0..1.
    """
    face: NDArray[Any] = face_CHW.transpose(1, 2, 0).astype(np.float32)
    height, width = face.shape[:2]
    share = side / max(height, width)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -turned, share)
    matrix[:, 2] += (_CANVAS - width) / 2, (_CANVAS - height) / 2
    if share < 1:  # blur before shrinking, against aliasing
        face = cv2.GaussianBlur(face, (0, 0), 0.4 / share)
    canvas = (_CANVAS, _CANVAS)
    drawn = cv2.warpAffine(face, matrix, canvas, borderMode=cv2.BORDER_REPLICATE)
    drawn = drawn.reshape(*canvas, -1)
    mask = cv2.warpAffine(np.outer(_ramp(height), _ramp(width)), matrix, canvas)[..., None]
    levels = (drawn * mask + face_CHW.mean() * (1 - mask)) * light
    return np.broadcast_to(np.rint(levels).clip(0, 255).astype(np.uint8), (*canvas, 3)).copy()


def _ramp(length: int) -> NDArray[np.float32]:
    """A soft window, float32 (length,): 1 inside, falling to 0 at both ends."""
    places = np.arange(length, dtype=np.float32) + 0.5
    ramp: NDArray[np.float32] = np.minimum(places, length - places).clip(0, _SOFT) / _SOFT
    return ramp


class _Scenes:
    """Draws scenes of labelled faces, detects the faces in them, and classifies the detected faces."""

    def __init__(
        self,
        model: FaceModel,
        faces_NCHW: NDArray[np.uint8],
        labels_N: NDArray[np.int64],
        uncertain_below: float,
    ) -> None:
        self._model = model
        self._faces_NCHW = faces_NCHW
        self._labels_N = labels_N
        self._uncertain_below = uncertain_below
        # `thorough` would also look for turned and small faces, but takes three times as long.
        self._find = YuNet(score=SCORES[-1], thorough=False)

    def are_found(self) -> bool:
        """Whether the detector finds at least `LEAST_FOUND` of the faces without a turn."""
        _, level, _ = self._look(self._faces_NCHW, lambda _, face: scene(face, 0, _SIDE, 1))
        return sum(one.score >= _USUAL for one in level) >= LEAST_FOUND * len(self._faces_NCHW)

    def by_turn(self) -> list[Found]:
        """A step for each bin of the turn, as measured between the detected eyes."""
        count = len(_DRAWN)
        faces = np.repeat(self._faces_NCHW, count, axis=0)
        places, found, said = self._look(
            faces, lambda n, face: scene(face, _DRAWN[n % count] * (-1) ** (n // count), _SIDE, 1)
        )
        usual = np.array([one.score >= _USUAL for one in found], bool)
        turns = np.array([turn(one) for one in found])
        labels = np.repeat(self._labels_N, count)[places]
        return self._binned(turns[usual], TURNS, said[usual], labels[usual], len(faces))

    def by_score(self) -> list[Found]:
        """A step for each bin of the detector's score."""
        rng = np.random.default_rng(0)
        faces = np.tile(self._faces_NCHW, (_ROUNDS, 1, 1, 1))
        turns = rng.uniform(-90, 90, len(faces))
        sides = np.exp(rng.uniform(math.log(14), math.log(_SIDE), len(faces)))
        lights = np.exp(rng.uniform(math.log(0.05), 0, len(faces)))
        places, found, said = self._look(
            faces, lambda n, face: scene(face, turns[n], sides[n], lights[n])
        )
        worse, ends = -np.array([one.score for one in found]), [-least for least in SCORES]
        labels = np.tile(self._labels_N, _ROUNDS)[places]
        return self._binned(worse, ends, said, labels, len(faces))

    def _binned(
        self,
        worse_M: NDArray[np.float64],
        ends: Sequence[float],
        said_MK: NDArray[np.float32],
        labels_M: NDArray[np.int64],
        drawn: int,
    ) -> list[Found]:
        """For each bin, given by its rising upper ends: a step, and its share of the drawn faces."""
        steps = []
        for low, high in zip((-math.inf, *ends), ends, strict=False):
            of = (worse_M > low) & (worse_M <= high)
            one = step(abs(high), said_MK[of], labels_M[of], self._uncertain_below)
            steps.append((one, int(of.sum()) / drawn))
        return steps

    def _look(
        self, faces_NCHW: NDArray[np.uint8], drawn: _Draw
    ) -> tuple[NDArray[np.int64], list[Detection], NDArray[np.float32]]:
        """Draw a scene of each face, uint8 (N, C, H, W), with `drawn`, and look for the face in it.

        Returns:
            (positions of the M found faces, int64 (M,); their detections; probabilities, float32 (M, K)).
        """
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
    """Measure a curve of `turn`, in degrees, and a curve of `detection score`.

    The second uses faces turned, shrunk and darkened at random.

    Args:
        model: the network.
        faces_NCHW: uint8 (N, C, H, W).
        labels_N: int64 (N,), the true answers.
        uncertain_below: the threshold of sure answers.

    Returns:
        Name -> steps. Empty if the detector finds fewer than `LEAST_FOUND` of the faces even without a turn.
    """
    scenes = _Scenes(model, faces_NCHW, labels_N, uncertain_below)
    if not scenes.are_found():
        return {}
    return {"turn": scenes.by_turn(), "detection score": scenes.by_score()}
