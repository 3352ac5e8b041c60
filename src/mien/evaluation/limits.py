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

from mien.evaluation.corruptions import CORRUPTIONS
from mien.evaluation.views import Predictor
from mien.recognise.doubt import detail

#: Of sure answers at least so many are right up to a limit; beyond it fewer are.
LEAST_PRECISION = 0.75
#: Sure answers of which a precision is taken for one: of fewer it says little.
LEAST_SURE = 20
#: Pixels a side, and standard deviations of gray levels, that faces are brought to.
SIZES = (36, 24, 18, 14, 11, 9, 8)
SPREADS = (24.0, 16.0, 11.0, 8.0, 5.5, 4.0, 2.8, 2.0)
#: Limits that are tried of `mien.recognise.doubt.detail`, the mildest first, and the corruptions that they are against.
DETAILS = (0.01, 0.014, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12)
NOISES = (7.0, 6.0, 5.0, 4.5, 4.0, 3.75, 3.5, 3.25, 3.0, 2.75, 2.5, 2.25, 2.0)
BLURRING, NOISY = ("blur", "motion-blur", "low-resolution"), ("gaussian-noise", "impulse-noise")
#: Where fewer of the answers are sure, it is not asked how many of them are right.
LEAST_SHARE = 0.2
#: Of faces as they are, such a limit calls so many uncertain at most.
MOST_LOST = 0.01
_SEVERITIES = (4, 5)

#: uint8 (N, C, H, W) and an amount -> uint8 (N, C, H, W).
Worsening: TypeAlias = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]


@dataclass(frozen=True)
class CurvePoint:
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
    within_N: NDArray[np.bool_] | None = None,
) -> CurvePoint:
    """The counts at one step, which may have no faces; those not `within` a limit are not sure."""
    if not len(labels_N):
        return CurvePoint(float(amount), 0.0, 0.0, None)
    right_N = probabilities_NK.argmax(axis=1) == labels_N
    sure_N = probabilities_NK.max(axis=1) >= uncertain_below
    if within_N is not None:
        sure_N &= within_N
    enough = sure_N.sum() >= LEAST_SURE
    precision = float(right_N[sure_N].mean()) if enough else None
    return CurvePoint(float(amount), float(right_N.mean()), float(sure_N.mean()), precision)


def curve(
    predict: Predictor,
    faces_NCHW: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    uncertain_below: float,
    worsen: Worsening,
    amounts: Sequence[float],
) -> tuple[CurvePoint, ...]:
    """A step for each amount, the mildest first."""
    return tuple(
        step(amount, np.asarray(predict(worsen(faces_NCHW, amount))), labels_N, uncertain_below)
        for amount in amounts
    )


def limit_of(steps: Sequence[CurvePoint]) -> float:
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
) -> dict[str, tuple[CurvePoint, ...]]:
    """The curves of ready crops: `size` in pixels a side, `flat` and `dark` in standard deviations."""
    return {
        name: curve(predict, faces_NCHW, labels_N, uncertain_below, worsen, amounts)
        for name, worsen, amounts in (
            ("size", smaller, SIZES),
            ("flat", flatter, SPREADS),
            ("dark", darker, SPREADS),
        )
    }


@dataclass(frozen=True)
class DetailCurves:
    """What limits of the least detail, or of the most, do to faces blurred and to noisy ones.

    steps: "corruption severity" -> a step for each limit; `sure` and `precision` are of the faces within it.
    plain: the share of faces as they are that lie beyond each limit.
    """

    limits: tuple[float, ...]
    steps: dict[str, tuple[CurvePoint, ...]]
    plain: tuple[float, ...]

    def limit(self) -> float | None:
        """The mildest within which sure answers are right often enough wherever a fifth of the answers are sure.

        Where none is, the strictest; none that loses more than `MOST_LOST` of faces as they are. None: all do.
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
    """(of the least detail, of the most), from ready crops that `mien.evaluation.corruptions` makes worse.

    Args:
        digests_N2: uint64 (N, 2), of the faces; what is drawn for each depends on them.
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
