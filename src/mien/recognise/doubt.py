"""Why an answer is uncertain: the picture of the face is too bad to tell by, or no expression is probable enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mien.card import Limits, ModelCard
    from mien.recognise.detect import Detection

#: The limits of a card, and `probability`: below its threshold.
Reason: TypeAlias = Literal[
    "size", "spread", "detail", "noise", "turn", "detection_score", "probability"
]

#: Each in words, for people.
IN_WORDS: dict[Reason, str] = {
    "size": "too small",
    "spread": "too dark or flat",
    "detail": "too blurred",
    "noise": "too noisy",
    "turn": "turned too far",
    "detection_score": "hardly like a face",
    "probability": "no expression is probable enough",
}


def bad_picture(
    limits: Limits, found: Detection, crop_CHW: NDArray[np.uint8], side: float, *, scored: bool
) -> Reason | None:
    """The first limit that a face lies beyond; None where it lies within all.

    Args:
        limits: of the model.
        found: the face.
        crop_CHW: what the network is shown of it.
        side: pixels of the picture, a side, that the crop was made of.
        scored: whether the score is YuNet's.
    """
    if limits.size is not None and side < limits.size:
        return "size"
    if (bad := bad_crop(limits, crop_CHW)) is not None:
        return bad
    if limits.turn is not None and found.landmarks is not None and turn(found) > limits.turn:
        return "turn"
    if limits.detection_score is not None and scored and found.score < limits.detection_score:
        return "detection_score"
    return None


def bad_crop(limits: Limits, crop_CHW: NDArray[np.uint8]) -> Reason | None:
    """The first limit that a crop lies beyond, of those that it shows by itself: spread, detail, noise."""
    if limits.spread is not None and spread(crop_CHW) < limits.spread:
        return "spread"
    if limits.detail is None and limits.noise is None:
        return None
    shown = detail(crop_CHW)
    if limits.detail is not None and shown < limits.detail:
        return "detail"
    if limits.noise is not None and shown > limits.noise:
        return "noise"
    return None


def spread(crop_CHW: NDArray[np.uint8]) -> float:
    """The standard deviation of a crop's gray levels, the mean of its channels: 0..127.5."""
    return float(crop_CHW.mean(axis=0).std())


def detail(crop_CHW: NDArray[np.uint8]) -> float:
    """How much a crop's gray levels change within two pixels, as a share of their variance: 0..16.

    The mean square of the second difference of pixels two apart, in the one of four directions in which it is
    least: so that blur in one direction, of a camera that moved, shows as well. Blur makes it small, noise large;
    light and contrast leave it as it is. 0 for a crop of one gray level.

    Args:
        crop_CHW: uint8; 0 for one of less than 5 pixels a side.
    """
    gray_HW = crop_CHW.mean(axis=0, dtype=np.float32)
    variance = float(gray_HW.var())
    if variance < 1e-6 or min(gray_HW.shape) < 5:
        return 0.0
    twice_HW = 2 * gray_HW[2:-2, 2:-2]
    beside = (
        gray_HW[2:-2, 4:] + gray_HW[2:-2, :-4],
        gray_HW[4:, 2:-2] + gray_HW[:-4, 2:-2],
        gray_HW[4:, 4:] + gray_HW[:-4, :-4],
        gray_HW[4:, :-4] + gray_HW[:-4, 4:],
    )
    return min(float(np.square(twice_HW - both_HW).mean()) for both_HW in beside) / variance


def turn(found: Detection) -> float:
    """Degrees, 0..180, by which the line of the eyes is turned; 0 without landmarks."""
    if found.landmarks is None:
        return 0.0
    (right_x, right_y), (left_x, left_y) = found.landmarks[:2]
    return abs(math.degrees(math.atan2(left_y - right_y, left_x - right_x)))


def improbable(probability: float, uncertain_below: float) -> Reason | None:
    """`probability` where it is below a threshold."""
    return "probability" if probability < uncertain_below else None


def sure_of_crops(
    card: ModelCard, crops_NCHW: NDArray[np.uint8], probabilities_NK: NDArray[np.floating[Any]]
) -> NDArray[np.bool_]:
    """Which answers about ready crops are not uncertain, bool (N,): by probability, spread, detail and noise.

    Size, turn and the finder's score are of the photo that a crop was cut from, and are not asked here.
    """
    sure_N: NDArray[np.bool_] = probabilities_NK.max(axis=1) >= card.uncertain_below
    good = [bad_crop(card.uncertain_beyond, crop) is None for crop in crops_NCHW]
    return sure_N & np.array(good, np.bool_)
