"""Probabilities that mean what they say: a temperature, offsets, and the confidence below which to doubt.

All are fitted on validation faces, never on test ones. Shapes: N faces, K expressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, extra_required
from mien.evaluation.metrics import SMALLEST_PROBABILITY

#: Of so few faces a temperature is not fitted: of 10 drawn from PublicTest it makes probabilities worse
#: than none in 22 % of draws, of 20 in 4 %, of 50 in 1 % (benchmarks/calibration.py).
LEAST_FACES = 50
#: Of sure answers so many are to be right, and so many of all faces are to be answered. If both cannot be
#: had, the first counts.
SURE_PRECISION, SURE_SHARE = 0.92, 0.75
#: Temperatures that are looked at; a fit that would leave this range ends at its border.
TEMPERATURES = (0.01, 100.0)


#: The offsets go so far of the way to those of the smallest cross-entropy. On PublicTest, halves fitted and halves
#: measured, the whole way costs 5 points of balanced accuracy (rare expressions), half of it 1.6, while
#: accuracy gains 3.1 and 2.2: docs/log.md.
OFFSET_SHARE = 0.5
#: Offsets are fitted if each expression has so many faces.
LEAST_OF_EACH = 10


@dataclass(frozen=True)
class Calibration:
    """softmax(logits / temperature + offsets).

    Attributes:
        temperature: above 0.
        offsets: one for each of K expressions, of mean 0; empty for none.
    """

    temperature: float
    offsets: tuple[float, ...] = ()

    def __call__(self, logits_NK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Probabilities, float64 (N, K)."""
        scaled = np.asarray(logits_NK, dtype=np.float64) / self.temperature
        return softmax(scaled + np.array(self.offsets)) if self.offsets else softmax(scaled)


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


def fit_calibration(
    logits_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64], *, lifts_rare: bool = False
) -> Calibration:
    """A temperature, and offsets for a network whose training lifted rare expressions.

    Such a network calls too many faces by a rare name: it was trained as if all expressions were
    equally frequent. Offsets as in vector scaling (Guo et al. 2017, section 4.2) take `OFFSET_SHARE` of that back. The
    answer may change; without offsets it never does.

    Args:
        logits_NK: (N, K).
        labels_N: int64 (N,), the right answers.
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
    """The offsets of mean 0 that, with a scale of the logits, have the smallest cross-entropy: float64 (K,).

    The cross-entropy is convex in scale and offsets. A slight pull towards 0 keeps offsets finite even if one
    expression is always right.
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
    """The T > 0 for which softmax(logits / T + offsets) has the smallest cross-entropy, within TEMPERATURES.

    Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2. The cross-entropy is convex
    in 1 / T; its slope there is the mean logit that the probabilities expect, less the mean logit of the
    true expression. Bisection finds where it crosses zero. Without offsets no answer changes.
    """
    logits = np.asarray(logits_NK, dtype=np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    of_truth = logits[np.arange(len(labels_N)), labels_N].mean()

    added = 0.0 if offsets_K is None else offsets_K

    def slope(temperature: float) -> float:
        said = softmax(logits / temperature + added)
        return float((said * logits).sum(axis=1).mean() - of_truth)

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
