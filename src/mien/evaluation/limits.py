"""Measure the limits of picture quality beyond which sure answers are wrong too often.

Validation faces are degraded step by step. At each step two shares are measured: the sure answers (probability at or
above the threshold), and the right answers among them, their precision. A limit is the last step at which this
precision is high enough. Shapes: N faces, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.evaluation.corruptions import CORRUPTIONS
from mien.evaluation.views import Predictor
from mien.recognise.doubt import detail

#: The least precision of sure answers up to a limit.
LEAST_PRECISION = 0.75
#: The least number of sure answers to compute a precision; with fewer it would be mostly chance.
LEAST_SURE = 20
#: The steps of degradation: side in pixels, and standard deviation of gray levels.
SIZES = (36, 24, 18, 14, 11, 9, 8)
SPREADS = (24.0, 16.0, 11.0, 8.0, 5.5, 4.0, 2.8, 2.0)
#: Candidate limits of `mien.recognise.doubt.detail`, the mildest first: least details against blur, most details
#: against noise; then the corruptions of each.
DETAILS = (0.01, 0.014, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12)
NOISES = (7.0, 6.0, 5.0, 4.5, 4.0, 3.75, 3.5, 3.25, 3.0, 2.75, 2.5, 2.25, 2.0)
BLURRING, NOISY = ("blur", "motion-blur", "low-resolution"), ("gaussian-noise", "impulse-noise")
#: Precision is not required at steps with a smaller share of sure answers.
LEAST_SHARE = 0.2
#: The largest share of unchanged faces that a limit of details may call uncertain.
MOST_LOST = 0.01
_SEVERITIES = (4, 5)


@dataclass(frozen=True)
class CurvePoint:
    """The figures of one step of a curve.

    Attributes:
        amount: the step, in the unit of the curve.
        accuracy: accuracy of all answers, 0..1.
        sure: share of sure answers.
        precision: share of right answers among the sure ones; None if there are fewer than `LEAST_SURE`.
    """

    amount: float
    accuracy: float
    sure: float
    precision: float | None


def smaller(faces_NCHW: NDArray[np.uint8], side: float) -> NDArray[np.uint8]:
    """Degrade faces as if they had only `side` pixels in their picture: shrink by area, enlarge again."""

    def one(plane: NDArray[np.uint8]) -> NDArray[Any]:
        height, width = plane.shape
        small = [max(1, round(side * length / max(height, width))) for length in (width, height)]
        shrunk = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)

    return np.stack([np.stack([one(plane) for plane in face]) for face in faces_NCHW])


def flatter(faces_NCHW: NDArray[np.uint8], spread: float) -> NDArray[np.uint8]:
    """Reduce the contrast of faces to a standard deviation, keeping the mean; flatter faces are not changed."""
    faces = faces_NCHW.astype(np.float32)
    mean = faces.mean(axis=(1, 2, 3), keepdims=True)
    return _levels(mean + (faces - mean) * _share(faces_NCHW, spread))


def darker(faces_NCHW: NDArray[np.uint8], spread: float) -> NDArray[np.uint8]:
    """Darken faces to a standard deviation of gray levels; the mean falls in proportion."""
    return _levels(faces_NCHW.astype(np.float32) * _share(faces_NCHW, spread))


def _share(faces_NCHW: NDArray[np.uint8], spread: float) -> NDArray[np.float32]:
    """The factor of each face, at most 1: float32 (N, 1, 1, 1)."""
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
    within_N: NDArray[np.bool_] | None = None,
) -> CurvePoint:
    """Compute the figures of one step; there may be no faces.

    Args:
        amount: the step.
        probabilities_NK: (N, K), the answers.
        labels_N: int64 (N,), the true answers.
        uncertain_below: the threshold of sure answers.
        within_N: bool (N,); answers to faces outside of a limit (False) are not sure. None: all are within.
    """
    if not len(labels_N):
        return CurvePoint(float(amount), 0.0, 0.0, None)
    right_N = probabilities_NK.argmax(axis=1) == labels_N
    sure_N = probabilities_NK.max(axis=1) >= uncertain_below
    if within_N is not None:
        sure_N &= within_N
    enough = sure_N.sum() >= LEAST_SURE
    precision = float(right_N[sure_N].mean()) if enough else None
    return CurvePoint(float(amount), float(right_N.mean()), float(sure_N.mean()), precision)


def limit_of(steps: Sequence[CurvePoint]) -> float:
    """The last amount before the precision of sure answers falls below `LEAST_PRECISION`.

    If it is below from the start, this is the first amount. If it never is, this is the last measured
    amount, because nothing is known beyond it.
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
) -> dict[str, tuple[CurvePoint, ...]]:
    """Measure three curves on ready crops: `size` in pixels a side, `flat` and `dark` in standard deviations.

    Args:
        predict: the network.
        faces_NCHW: uint8 (N, C, H, W).
        labels_N: int64 (N,), the true answers.
        uncertain_below: the threshold of sure answers.
    """
    return {
        name: tuple(
            step(amount, np.asarray(predict(worsen(faces_NCHW, amount))), labels_N, uncertain_below)
            for amount in amounts
        )
        for name, worsen, amounts in (
            ("size", smaller, SIZES),
            ("flat", flatter, SPREADS),
            ("dark", darker, SPREADS),
        )
    }


@dataclass(frozen=True)
class DetailCurves:
    """The effect of candidate limits of detail on blurred or noisy faces, and on unchanged ones.

    Attributes:
        limits: the candidates, the mildest first.
        steps: "corruption severity" -> a step for each candidate; answers beyond it are not sure.
        plain: share of unchanged faces beyond each candidate.
    """

    limits: tuple[float, ...]
    steps: dict[str, tuple[CurvePoint, ...]]
    plain: tuple[float, ...]

    def limit(self) -> float | None:
        """Choose a candidate: the mildest that gives every corruption a high enough precision of sure answers.

        Precision is required only if at least `LEAST_SHARE` of the answers are sure. Candidates that lose more than
        `MOST_LOST` of unchanged faces are excluded. If none of the others is good enough, the strictest of them is
        chosen; None if all are excluded.
        """
        allowed = [n for n, lost in enumerate(self.plain) if lost <= MOST_LOST]
        for n in allowed:
            if all(_good(steps[n]) for steps in self.steps.values()):
                return self.limits[n]
        return self.limits[allowed[-1]] if allowed else None


def _good(one: CurvePoint) -> bool:
    return one.precision is None or one.sure < LEAST_SHARE or one.precision >= LEAST_PRECISION


def detail_curves(
    predict: Predictor,
    faces_NCHW: NDArray[np.uint8],
    digests_N2: NDArray[np.uint64],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
) -> tuple[DetailCurves, DetailCurves]:
    """Measure candidate limits on ready crops, corrupted by `mien.evaluation.corruptions`.

    Args:
        predict: the network.
        faces_NCHW: uint8 (N, C, H, W).
        digests_N2: uint64 (N, 2), digests of the faces, the seeds of their corruptions.
        labels_N: int64 (N,), the true answers.
        uncertain_below: the threshold of sure answers.

    Returns:
        (curves of least detail against blur, curves of most detail against noise).
    """
    plain_N = _details(faces_NCHW)

    def curves(names: tuple[str, ...], limits: tuple[float, ...], *, most: bool) -> DetailCurves:
        def within(details_N: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
            return details_N <= limit if most else details_N >= limit

        steps = {}
        for corruption in (one for one in CORRUPTIONS if one.name in names):
            for severity in _SEVERITIES:
                worse_NCHW = corruption.of_all(faces_NCHW, severity, digests_N2)
                said, details_N = np.asarray(predict(worse_NCHW)), _details(worse_NCHW)
                steps[f"{corruption.name} {severity}"] = tuple(
                    step(limit, said, labels_N, uncertain_below, within(details_N, limit))
                    for limit in limits
                )
        lost = tuple(float(1 - within(plain_N, limit).mean()) for limit in limits)
        return DetailCurves(limits, steps, lost)

    return curves(BLURRING, DETAILS, most=False), curves(NOISY, NOISES, most=True)


def _details(faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.array([detail(face) for face in faces_NCHW])
