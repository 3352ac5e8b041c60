"""Calibrate probabilities: fit a temperature, offsets, and the confidence below which answers are uncertain.

All are fitted on validation faces, never on test faces. Shapes: N faces, K expressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, extra_required, quantity
from mien.evaluation.metrics import SMALLEST_PROBABILITY

#: The least number of faces to fit a temperature. Fitted on 10 faces drawn from PublicTest, it makes probabilities
#: worse than no temperature in 22 % of draws, on 20 in 4 %, on 50 in 1 % (benchmarks/calibration.py).
LEAST_FACES = 50
#: The aims of the threshold: precision of sure answers, and share of faces answered. If both cannot be reached,
#: precision is kept.
SURE_PRECISION, SURE_SHARE = 0.92, 0.75
#: Range of temperatures; a fit outside of it ends at its border.
TEMPERATURES = (0.01, 100.0)


#: Factor on the offsets of the smallest cross-entropy. On PublicTest (fitted on one half, measured on the other) full
#: offsets cost 5 points of balanced accuracy (rare expressions) and gain 3.1 of accuracy; half of them cost 1.6 and
#: gain 2.2: docs/log.md.
OFFSET_SHARE = 0.5
#: The least number of faces of each expression to fit offsets.
LEAST_OF_EACH = 10


@dataclass(frozen=True)
class Calibration:
    """A calibrated softmax: softmax(logits / temperature + offsets).

    Attributes:
        temperature: above 0.
        offsets: one for each of K expressions, with mean 0; empty for no offsets.

    >>> Calibration(2.0)(np.array([[2.0, 0.0]])).round(3).tolist()
    [[0.731, 0.269]]
    """

    temperature: float
    offsets: tuple[float, ...] = ()

    def __call__(self, logits_NK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Compute calibrated probabilities, float64 (N, K), from logits (N, K)."""
        scaled = np.asarray(logits_NK, dtype=np.float64) / self.temperature
        return softmax(scaled + np.array(self.offsets)) if self.offsets else softmax(scaled)


def softmax(logits_NK: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """The softmax of each row of logits / temperature: float64 (N, K)."""
    scaled = np.asarray(logits_NK, dtype=np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities_NK: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities_NK


def enough_to_calibrate(faces: int, source: str) -> None:
    """Refuse to calibrate on too few faces.

    Raises:
        InputError: there are fewer validation faces than LEAST_FACES; `source` is the data, for the message.
    """
    if faces < LEAST_FACES:
        raise InputError(
            f"{source}: {quantity(faces, 'validation face')}, and calibration needs {LEAST_FACES}; "
            "train with more, or set a larger share of the training faces aside (--set split.holdout=0.3)"
        )


def fit_calibration(
    logits_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64], *, lifts_rare: bool = False
) -> Calibration:
    """Fit a temperature, and also offsets if the training raised the weight of rare expressions.

    Such a network predicts rare expressions too often, because it was trained as if all were equally
    frequent. Offsets as in vector scaling (Guo et al. 2017, section 4.2) undo `OFFSET_SHARE` of that. With offsets the
    answer of a face may change; with a temperature alone it never does.

    Args:
        logits_NK: (N, K).
        labels_N: int64 (N,), the true answers.
        lifts_rare: `Objective.lifts_rare` of the recipe.
    """
    counts_K = np.bincount(labels_N, minlength=np.shape(logits_NK)[1])
    if not lifts_rare or counts_K.min() < LEAST_OF_EACH:
        return Calibration(fit_temperature(logits_NK, labels_N))
    offsets_K = OFFSET_SHARE * _fit_offsets(np.asarray(logits_NK, np.float64), labels_N)
    return Calibration(
        fit_temperature(logits_NK, labels_N, offsets_K), tuple(map(float, offsets_K))
    )


def _fit_offsets(
    logits_NK: NDArray[np.float64], labels_N: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Fit offsets with mean 0, together with a scale of the logits, to the smallest cross-entropy: float64 (K,).

    The cross-entropy is convex in scale and offsets. A small quadratic penalty keeps offsets finite even if an
    expression can be separated perfectly.
    """
    with extra_required("report", "calibrating a network that lifts rare expressions"):
        from scipy.optimize import minimize
    true_NK = np.eye(logits_NK.shape[1])[labels_N]
    pull = 1 / len(labels_N)

    def loss(scale_and_offsets: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scale, offsets_K = scale_and_offsets[0], scale_and_offsets[1:]
        probabilities_NK = softmax(scale * logits_NK + offsets_K)
        of_truth = np.maximum((probabilities_NK * true_NK).sum(axis=1), SMALLEST_PROBABILITY)
        error_NK = (probabilities_NK - true_NK) / len(labels_N)
        slopes = np.append((error_NK * logits_NK).sum(), error_NK.sum(axis=0) + pull * offsets_K)
        value = -np.log(of_truth).mean() + pull / 2 * (offsets_K**2).sum()
        return float(value), slopes

    start = np.append(1 / fit_temperature(logits_NK, labels_N), np.zeros(logits_NK.shape[1]))
    offsets_K: NDArray[np.float64] = minimize(loss, start, jac=True, method="L-BFGS-B").x[1:]
    offsets_K -= offsets_K.mean()
    return offsets_K


def fit_temperature(
    logits_NK: NDArray[np.floating[Any]],
    labels_N: NDArray[np.int64],
    offsets_K: NDArray[np.float64] | None = None,
) -> float:
    """Fit the temperature T of the smallest cross-entropy of softmax(logits / T + offsets), within TEMPERATURES.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2. The cross-entropy is convex
    in 1 / T. Its slope is the mean over faces of the expected logit under the probabilities minus the logit of
    the true expression; bisection finds its zero. A temperature alone changes no answer.

    Args:
        logits_NK: (N, K).
        labels_N: int64 (N,), the true answers.
        offsets_K: float64 (K,), fixed offsets; None for none.
    """
    logits = np.asarray(logits_NK, dtype=np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)  # changes no softmax, and avoids overflow
    of_truth = logits[np.arange(len(labels_N)), labels_N].mean()

    added = 0.0 if offsets_K is None else offsets_K

    def slope(temperature: float) -> float:
        said = softmax(logits / temperature + added)
        return float((said * logits).sum(axis=1).mean() - of_truth)

    cold, hot = TEMPERATURES
    # Also if all logits of each face are equal, so that the temperature has no effect.
    if slope(1.0) == 0:
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
    """Fit the lowest threshold of confidence, 0..1, so that answers above it have at least this precision.

    It thereby answers as many faces as possible (selective classification: Geifman & El-Yaniv 2017,
    arXiv:1705.08500; their confidence bound is not used, because there are thousands of faces). Equal confidences
    are kept or rejected together; the threshold is midway between two confidences. It is 0 if no answer has
    to be uncertain, and 1 if all have to be.

    Args:
        confidence_N: (N,), largest probabilities.
        right_N: bool (N,), whether the answers are right.
        precision: the required share of right answers among the sure ones, 0..1.

    >>> round(fit_uncertain_below(np.array([0.5, 0.7, 0.9]), np.array([False, True, True])), 3)
    0.6
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
