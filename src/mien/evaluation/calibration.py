"""Probabilities that mean what they say: one temperature, and below which confidence to doubt.

Both are fitted on validation faces, never on test ones. Shapes: N faces, K expressions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError

#: Of so few faces a temperature is not fitted: of 10 drawn from PublicTest it makes probabilities worse
#: than none in 22 % of draws, of 20 in 4 %, of 50 in 1 % (benchmarks/calibration.py).
LEAST_FACES = 50
#: Of sure answers so many are to be right, and so many of all faces are to be answered. If both cannot be
#: had, the first counts.
SURE_PRECISION, SURE_SHARE = 0.92, 0.75
#: Temperatures that are looked at; a fit that would leave this range ends at its border.
TEMPERATURES = (0.01, 100.0)


def softmax(logits_NK: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """exp(z / T) over its sum, by row: float64 (N, K)."""
    scaled = np.asarray(logits_NK, dtype=np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities_NK: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities_NK


def enough_to_calibrate(faces: int, source: str) -> None:
    """InputError where there are fewer validation faces than LEAST_FACES."""
    if faces < LEAST_FACES:
        raise InputError(
            f"{source}: {faces} validation faces are too few to calibrate by, it takes {LEAST_FACES}; train "
            "with more, or set a larger share of the training faces aside (--set split.holdout=0.3)"
        )


def fit_temperature(logits_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64]) -> float:
    """The T > 0 for which softmax(logits / T) has the smallest cross-entropy, within TEMPERATURES.

    Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2. The cross-entropy is convex
    in 1 / T; its slope there is the mean logit that the probabilities expect, less the mean logit of the
    true expression. Bisection finds where it crosses zero. No answer changes: the largest logit stays so.
    """
    logits = np.asarray(logits_NK, dtype=np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    of_truth = logits[np.arange(len(labels_N)), labels_N].mean()

    def slope(temperature: float) -> float:
        return float((softmax(logits, temperature) * logits).sum(axis=1).mean() - of_truth)

    cold, hot = TEMPERATURES
    if slope(1.0) == 0:  # also where all logits of each face are equal, and no temperature matters
        return 1.0
    if slope(cold) <= 0:
        return cold
    if slope(hot) >= 0:
        return hot
    while hot / cold > 1 + 1e-9:
        middle = float(np.sqrt(cold * hot))
        cold, hot = (middle, hot) if slope(middle) > 0 else (cold, middle)
    return float(np.sqrt(cold * hot))


def fit_uncertain_below(
    confidence_N: NDArray[np.floating[Any]],
    right_N: NDArray[np.bool_],
    precision: float = SURE_PRECISION,
) -> float:
    """The lowest confidence from which on answers are right at least as often as `precision` says, 0..1.

    It answers as many faces as that precision allows (selective classification: Geifman & El-Yaniv 2017,
    arXiv:1705.08500, whose bound for a confidence is left out: the faces are thousands). Equal confidences are
    kept or doubted together; between two confidences it lies in the middle. 0 where nothing has to be
    doubted, 1 where everything has.
    """
    order = np.argsort(confidence_N, kind="stable")
    confidence = np.asarray(confidence_N, dtype=np.float64)[order]
    right = np.asarray(right_N, dtype=np.float64)[order]
    # kept[i]: the share of right answers from the i-th least confident one on.
    kept = np.cumsum(right[::-1])[::-1] / np.arange(len(right), 0, -1)
    cuts = np.flatnonzero(np.diff(confidence, prepend=-np.inf) > 0)
    good = cuts[kept[cuts] >= precision]
    if not len(good):
        return 1.0
    first = int(good[0])
    return 0.0 if first == 0 else float((confidence[first - 1] + confidence[first]) / 2)
