"""Reasons for an uncertain answer: the face's picture is too bad, or no expression is probable enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mien.card import Limits, ModelCard
    from mien.recognise.detect import Detection

#: The names of a card's `Limits`, and `probability`: below the card's `uncertain_below`.
Reason: TypeAlias = Literal[
    "size", "spread", "detail", "noise", "turn", "detection_score", "probability"
]

#: Each reason in words, for people.
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
    """The first limit that a face exceeds; None if it exceeds none.

    Args:
        limits: the limits of the model's card.
        found: the detected face.
        crop_CHW: its crop, the network's input: uint8.
        side: side of the crop in pixels of the picture, before resizing.
        scored: the score is YuNet's; the limit of scores is for these only.
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
    """The first limit that a crop exceeds, of those that need the crop only: spread, detail and noise."""
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
    """The standard deviation, 0..127.5, of a crop's gray levels (the mean of its channels)."""
    return float(crop_CHW.mean(axis=0).std())


def detail(crop_CHW: NDArray[np.uint8]) -> float:
    """A measure of blur and noise: the fine detail of a crop's gray levels as a share of their variance, 0..16.

    The mean squared second difference of gray levels at steps of two pixels, in the one of four directions that has
    the least: so that motion blur, which has one direction, shows as well. Blur makes it small, noise large; light
    and contrast do not change it.

    Args:
        crop_CHW: uint8, 1 or 3 channels.

    Returns:
        The measure; 0 for a crop of one gray level or of less than 5 pixels a side.
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
    """Degrees, 0..180, between the line of the eyes and the horizontal; 0 without landmarks."""
    if found.landmarks is None:
        return 0.0
    (right_x, right_y), (left_x, left_y) = found.landmarks[:2]
    return abs(math.degrees(math.atan2(left_y - right_y, left_x - right_x)))


def improbable(probability: float, uncertain_below: float) -> Reason | None:
    """The reason `probability` if a probability is below the threshold, else None."""
    return "probability" if probability < uncertain_below else None


def sure_of_crops(
    card: ModelCard, crops_NCHW: NDArray[np.uint8], probabilities_NK: NDArray[np.floating[Any]]
) -> NDArray[np.bool_]:
    """Which answers for face crops are certain: bool (N,), by probability, spread, detail and noise.

    The limits of size, turn and detection score need the photo that a crop was cut from, so they are not checked.

    Args:
        card: the model's card, with its limits.
        crops_NCHW: uint8, the network's inputs.
        probabilities_NK: the network's answers, 0..1.
    """
    sure_N: NDArray[np.bool_] = probabilities_NK.max(axis=1) >= card.uncertain_below
    good = [bad_crop(card.uncertain_beyond, crop) is None for crop in crops_NCHW]
    return sure_N & np.array(good, np.bool_)
