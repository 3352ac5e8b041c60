"""How bad a picture of a face may be before sure answers are wrong too often: curves, and the limits read off them.

Validation faces are made worse step by step, and at each step it is counted how many answers are still sure (their
probability is at or above the threshold) and how many of these are right. A limit is the worst step at which they
are right often enough. Shapes: N faces, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.evaluation.views import Predictor

#: Of sure answers at least so many are right up to a limit; beyond it fewer are.
LEAST_PRECISION = 0.75
#: Sure answers of which a precision is taken for one: of fewer it says little.
LEAST_SURE = 20
#: Pixels a side, and standard deviations of gray levels, that faces are brought to.
SIZES = (36, 24, 18, 14, 11, 9, 8)
SPREADS = (24.0, 16.0, 11.0, 8.0, 5.5, 4.0, 2.8, 2.0)

#: uint8 (N, C, H, W) and an amount -> uint8 (N, C, H, W).
Worsening: TypeAlias = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]


@dataclass(frozen=True)
class Step:
    """Answers at one step of a curve.

    amount: what the faces were brought to. accuracy: of all, 0..1. sure: the share of sure answers.
    precision: the share of right ones among these; None where there are fewer than `LEAST_SURE`.
    """

    amount: float
    accuracy: float
    sure: float
    precision: float | None


def smaller(faces_NCHW: NDArray[np.uint8], side: float) -> NDArray[np.uint8]:
    """As if the face had `side` pixels in its picture: shrunk by area, and enlarged again."""

    def one(plane: NDArray[np.uint8]) -> NDArray[Any]:
        height, width = plane.shape
        small = [max(1, round(side * length / max(height, width))) for length in (width, height)]
        shrunk = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)

    return np.stack([np.stack([one(plane) for plane in face]) for face in faces_NCHW])


def flatter(faces_NCHW: NDArray[np.uint8], spread: float) -> NDArray[np.uint8]:
    """Contrast taken away, to a standard deviation; the mean stays. Flatter faces stay as they are."""
    faces = faces_NCHW.astype(np.float32)
    mean = faces.mean(axis=(1, 2, 3), keepdims=True)
    return _levels(mean + (faces - mean) * _share(faces_NCHW, spread))


def darker(faces_NCHW: NDArray[np.uint8], spread: float) -> NDArray[np.uint8]:
    """Light taken away, to a standard deviation; the mean falls with it."""
    return _levels(faces_NCHW.astype(np.float32) * _share(faces_NCHW, spread))


def _share(faces_NCHW: NDArray[np.uint8], spread: float) -> NDArray[np.float32]:
    """What each face is multiplied by, (N, 1, 1, 1)."""
    own = np.maximum(spread_of(faces_NCHW), 1e-6)
    return np.minimum(spread / own, 1).astype(np.float32)[:, None, None, None]


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def spread_of(faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The standard deviation of each face's gray levels (the mean of its channels): float32 (N,)."""
    spreads: NDArray[np.float32] = faces_NCHW.mean(axis=1, dtype=np.float32).std(axis=(1, 2))
    return spreads


def step(
    amount: float,
    probabilities_NK: NDArray[np.floating[Any]],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
) -> Step:
    """The counts at one step, which may have no faces."""
    if not len(labels_N):
        return Step(float(amount), 0.0, 0.0, None)
    right_N = probabilities_NK.argmax(axis=1) == labels_N
    sure_N = probabilities_NK.max(axis=1) >= uncertain_below
    enough = sure_N.sum() >= LEAST_SURE
    precision = float(right_N[sure_N].mean()) if enough else None
    return Step(float(amount), float(right_N.mean()), float(sure_N.mean()), precision)


def curve(
    predict: Predictor,
    faces_NCHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
    worsen: Worsening,
    amounts: Sequence[float],
) -> tuple[Step, ...]:
    """A step for each amount, the mildest first."""
    return tuple(
        step(amount, np.asarray(predict(worsen(faces_NCHW, amount))), labels_N, uncertain_below)
        for amount in amounts
    )


def limit_of(steps: Sequence[Step]) -> float:
    """The last amount before sure answers are wrong too often; the first where they are from the start.

    Where they never are, the last that was measured: of what lies beyond nothing is known.
    """
    kept = steps[0].amount
    for one in steps:
        if one.precision is not None and one.precision < LEAST_PRECISION:
            break
        kept = one.amount
    return kept


def measured_curves(
    predict: Predictor,
    faces_NCHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
) -> dict[str, tuple[Step, ...]]:
    """The curves of ready crops: `size` in pixels a side, `flat` and `dark` in standard deviations."""
    return {
        name: curve(predict, faces_NCHW, labels_N, uncertain_below, worsen, amounts)
        for name, worsen, amounts in (
            ("size", smaller, SIZES),
            ("flat", flatter, SPREADS),
            ("dark", darker, SPREADS),
        )
    }
