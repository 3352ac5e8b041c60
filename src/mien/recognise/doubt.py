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
Reason: TypeAlias = Literal["size", "spread", "turn", "detection_score", "probability"]

#: Each in words, for people.
IN_WORDS: dict[Reason, str] = {
    "size": "too small",
    "spread": "too dark or flat",
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
    if limits.spread is not None and spread(crop_CHW) < limits.spread:
        return "spread"
    if limits.turn is not None and found.landmarks is not None and turn(found) > limits.turn:
        return "turn"
    if limits.detection_score is not None and scored and found.score < limits.detection_score:
        return "detection_score"
    return None


def spread(crop_CHW: NDArray[np.uint8]) -> float:
    """The standard deviation of a crop's gray levels, the mean of its channels: 0..127.5."""
    return float(crop_CHW.mean(axis=0).std())


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
    """Which answers about ready crops are not uncertain, bool (N,): by probability and by spread.

    Size, turn and the finder's score are of the photo that a crop was cut from, and are not asked here.
    """
    sure_N: NDArray[np.bool_] = probabilities_NK.max(axis=1) >= card.uncertain_below
    if (limit := card.uncertain_beyond.spread) is not None:
        sure_N &= np.array([spread(crop) >= limit for crop in crops_NCHW], np.bool_)
    return sure_N
