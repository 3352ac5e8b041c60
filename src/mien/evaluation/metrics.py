"""The metrics of a classifier, computed only from probabilities (N, K) and labels (N,).

Confusion matrix, precision, recall and F1 come from scikit-learn. Cross-entropy, calibration errors and
bootstrap intervals are implemented here: they are short, and their conventions matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, extra_required

#: Equal-width confidence bins of the calibration error (Guo et al. 2017 use 15).
CALIBRATION_BINS = 15
#: Number of resamples of a bootstrap interval.
RESAMPLES = 2000
#: Lower bound of probabilities in logarithms, so that an underflow costs 87.3 nats and not infinity.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
#: Allowed difference of a row's sum from 1 (a half-precision softmax is well inside).
SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class ClassScores:
    """The scores of one expression, each 0..1, or None if the expression has no face.

    An expression that has faces but is never predicted has precision 0, as in scikit-learn. `support` is
    its number of faces.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class CalibrationBin:
    """The faces with a confidence (largest probability) in (low, high].

    Attributes:
        low, high: bounds of the bin.
        count: number of faces.
        confidence: their mean confidence; None if there are none.
        accuracy: the share of right answers, 0..1; None if there are none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Scores:
    """The scores of probabilities (N, K) for labels (N,).

    Attributes:
        count: N.
        accuracy: top-1 accuracy, 0..1; of equal probabilities the first is the answer.
        accuracy_interval: 95% percentile bootstrap interval of `accuracy`.
        balanced_accuracy: mean recall, 0..1, over the expressions that have faces.
        macro_f1: mean F1, 0..1, over the expressions that have faces.
        cross_entropy: mean of -ln p(true expression), in nats, 0 and up.
        calibration_error: expected calibration error, 0..1.
        brier_score: mean squared distance of probabilities from the truth, 0..2. This and the next
            two are None in files of earlier versions.
        adaptive_calibration_error: like `calibration_error`, with the same number of faces in each bin.
        classwise_calibration_error: mean over expressions of the calibration error of their own
            probability, 0..1.
        calibration_chance: the 95 % interval of `calibration_error` for a perfectly calibrated network with
            the same confidences; with few faces it is well above 0. None in files of earlier versions.
        per_class: one ClassScores for each expression, in label order.
        confusion: confusion[t][p] is the number of faces of expression t that were called p.
        bins: the reliability diagram of `calibration_error`.

    >>> scores = compute_scores(np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 1, 1]))
    >>> round(scores.accuracy, 3), scores.confusion
    (0.667, ((1, 0), (1, 1)))
    """

    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    cross_entropy: float
    calibration_error: float
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    bins: tuple[CalibrationBin, ...]
    brier_score: float | None = None
    adaptive_calibration_error: float | None = None
    classwise_calibration_error: float | None = None
    calibration_chance: tuple[float, float] | None = None


def compute_scores(
    probabilities_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64]
) -> Scores:
    """Compute all figures of `Scores`.

    Args:
        probabilities_NK: (N, K), 0..1, each row summing to 1; N and K at least 1.
        labels_N: (N,), 0..K-1.

    Raises:
        InputError: the arrays have other shapes or values.
        MissingExtraError: scikit-learn is not installed.
    """
    probabilities, labels = _checked(probabilities_NK, labels_N)
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    matrix = confusion_matrix(labels, predicted, probabilities.shape[1])
    per_class = class_scores(labels, predicted, probabilities.shape[1])
    confidence = probabilities.max(axis=1)
    bins = calibration_bins(confidence, right)
    return Scores(
        count=len(labels),
        accuracy=float(right.mean()),
        accuracy_interval=accuracy_interval(int(right.sum()), len(labels)),
        balanced_accuracy=_mean(item.recall for item in per_class),
        macro_f1=_mean(item.f1 for item in per_class),
        cross_entropy=cross_entropy(probabilities, labels),
        calibration_error=calibration_error(bins),
        per_class=per_class,
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
        bins=bins,
        brier_score=brier_score(probabilities, labels),
        adaptive_calibration_error=adaptive_calibration_error(confidence, right),
        classwise_calibration_error=classwise_calibration_error(probabilities, labels),
        calibration_chance=calibration_chance(confidence),
    )


def confusion_matrix(
    labels_N: NDArray[np.int64], predicted_N: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count faces by true label (row) and predicted label (column): int64 (K, K)."""
    with extra_required("report", "scoring"):
        from sklearn import metrics
    matrix: NDArray[np.int64] = metrics.confusion_matrix(
        labels_N, predicted_N, labels=np.arange(classes)
    )
    return matrix.astype(np.int64)


def class_scores(
    labels_N: NDArray[np.int64], predicted_N: NDArray[np.int64], classes: int
) -> tuple[ClassScores, ...]:
    """Compute precision = TP/(TP+FP), recall = TP/(TP+FN) and F1, their harmonic mean, of each class."""
    with extra_required("report", "scoring"):
        from sklearn import metrics
    columns = metrics.precision_recall_fscore_support(
        labels_N, predicted_N, labels=np.arange(classes), zero_division=0.0
    )
    return tuple(
        ClassScores(float(precision), float(recall), float(f1), int(support))
        if support
        else ClassScores(None, None, None, 0)
        for precision, recall, f1, support in zip(*columns, strict=True)
    )


def cross_entropy(
    probabilities_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64]
) -> float:
    """Mean of -ln p(true class) in nats, with p not below SMALLEST_PROBABILITY.

    >>> round(cross_entropy(np.array([[0.5, 0.5]]), np.array([1])), 4)
    0.6931
    """
    chosen = probabilities_NK[np.arange(len(labels_N)), labels_N].astype(np.float64)
    return float(-np.log(np.maximum(chosen, SMALLEST_PROBABILITY)).mean())


def calibration_bins(
    confidence_N: NDArray[np.floating[Any]],
    right_N: NDArray[np.bool_],
    count: int = CALIBRATION_BINS,
) -> tuple[CalibrationBin, ...]:
    """Compute mean confidence and accuracy in `count` equal-width bins ((m-1)/M, m/M] of confidence.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.

    Args:
        confidence_N: (N,), largest probabilities, 0..1.
        right_N: bool (N,), whether the answers are right.
        count: M.
    """
    edges = np.linspace(0.0, 1.0, count + 1)
    place = _bin_of(confidence_N, edges)
    sizes = np.bincount(place, minlength=count)
    confidences = np.bincount(place, weights=confidence_N, minlength=count)
    rights = np.bincount(place, weights=right_N, minlength=count)
    return tuple(
        CalibrationBin(
            low=float(edges[m]),
            high=float(edges[m + 1]),
            count=int(sizes[m]),
            confidence=float(confidences[m] / sizes[m]) if sizes[m] else None,
            accuracy=float(rights[m] / sizes[m]) if sizes[m] else None,
        )
        for m in range(count)
    )


def _bin_of(
    confidence_N: NDArray[np.floating[Any]], edges_M1: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The number of the bin (low, high] of each confidence, int64 (N,); 0 itself is in the first bin."""
    place_N = np.searchsorted(edges_M1, confidence_N, side="left") - 1
    return np.clip(place_N, 0, len(edges_M1) - 2)


def calibration_error(bins: tuple[CalibrationBin, ...]) -> float:
    """Expected calibration error: sum over bins of n_m/N * |accuracy_m - confidence_m|, 0..1."""
    total = sum(item.count for item in bins)
    return sum(
        item.count / total * abs(item.accuracy - item.confidence)
        for item in bins
        if item.accuracy is not None and item.confidence is not None
    )


def calibration_chance(confidence_N: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """The 95% interval of `calibration_error` for perfect calibration: each answer is right with its confidence.

    Method: consistency resampling (Bröcker & Smith 2007, Increasing the Reliability of Reliability Diagrams;
    Vaicenavicius et al. 2019, Evaluating Model Calibration in Classification). The number of right answers in a
    bin is drawn from the normal distribution with the same variance, the sum of p (1 - p), so drawing
    takes as long for a million faces as for a thousand.

    Args:
        confidence_N: (N,), 0..1.
    """
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    place = _bin_of(confidence_N, edges)
    variance_M = np.bincount(
        place, weights=confidence_N * (1 - confidence_N), minlength=CALIBRATION_BINS
    )
    generator = np.random.default_rng(0)
    excess_DM = generator.normal(size=(RESAMPLES, CALIBRATION_BINS)) * np.sqrt(variance_M)
    return interval_of(np.abs(excess_DM).sum(axis=1) / len(confidence_N))


def brier_score(probabilities_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64]) -> float:
    """The mean over faces of the sum over classes of (p - truth)^2, 0..2.

    Source: Brier 1950, Verification of Forecasts Expressed in Terms of Probability, equation 2.

    >>> round(brier_score(np.array([[0.8, 0.2]]), np.array([0])), 4)
    0.08
    """
    distances = np.asarray(probabilities_NK, dtype=np.float64).copy()
    distances[np.arange(len(labels_N)), labels_N] -= 1
    return float((distances**2).sum(axis=1).mean())


def adaptive_calibration_error(
    confidence_N: NDArray[np.floating[Any]],
    right_N: NDArray[np.bool_],
    count: int = CALIBRATION_BINS,
) -> float:
    """The calibration error over `count` bins with (nearly) the same number of faces, 0..1.

    With fewer faces than bins each face is its own bin. Faces of equal confidence may be in two bins.
    Source: Nguyen & O'Connor 2015, Posterior calibration and exploratory analysis for natural language
    processing models, section 3.
    """
    order = np.argsort(confidence_N, kind="stable")
    excess = np.asarray(confidence_N, dtype=np.float64)[order] - np.asarray(right_N)[order]
    parts = np.array_split(excess, min(count, len(excess)))
    return float(sum(abs(part.sum()) for part in parts) / len(excess))


def classwise_calibration_error(
    probabilities_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64]
) -> float:
    """The mean over classes of the calibration error of p(class) for "the face is of this class", 0..1.

    Uses equal-width bins. Source: Kull et al. 2019, Beyond temperature scaling, section 2.
    """
    errors = [
        calibration_error(calibration_bins(probabilities_NK[:, k], labels_N == k))
        for k in range(probabilities_NK.shape[1])
    ]
    return float(np.mean(errors))


@dataclass(frozen=True)
class RiskCoverage:
    """The risk-coverage curve: the error rate if only the most confident answers are given.

    Source: Geifman & El-Yaniv 2017, Selective Classification for Deep Neural Networks.

    Attributes:
        coverage: float64 (M,), share of faces answered, rising to 1.
        risk: float64 (M,), share of wrong answers among them.
        threshold: float64 (M,), lowest confidence among them.

    >>> curve = risk_coverage(np.array([0.9, 0.8, 0.6]), np.array([True, True, False]))
    >>> curve.at(0.7)
    (0.6666666666666666, 0.0)
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    threshold: NDArray[np.float64]

    @property
    def area(self) -> float:
        """The area under the curve (AURC), 0..1: the mean risk over all coverages; less is better."""
        return float((self.risk * np.diff(self.coverage, prepend=0.0)).sum())

    def at(self, threshold: float) -> tuple[float, float | None]:
        """(coverage, risk) if answers below a confidence are withheld; (0.0, None) if all are."""
        kept = np.flatnonzero(self.threshold >= threshold)
        if not len(kept):
            return 0.0, None
        return float(self.coverage[kept[-1]]), float(self.risk[kept[-1]])


def risk_coverage(
    confidence_N: NDArray[np.floating[Any]], right_N: NDArray[np.bool_]
) -> RiskCoverage:
    """Compute the risk-coverage curve; faces of equal confidence are answered or withheld together.

    Args:
        confidence_N: (N,), 0..1.
        right_N: bool (N,), whether the answers are right.
    """
    order = np.argsort(-np.asarray(confidence_N), kind="stable")
    confidence = np.asarray(confidence_N, dtype=np.float64)[order]
    wrong = np.cumsum(~np.asarray(right_N, dtype=np.bool_)[order])
    last = np.flatnonzero(np.diff(confidence, append=-np.inf))  # the last of each group of equals
    answered = last + 1
    return RiskCoverage(answered / len(confidence), wrong[last] / answered, confidence[last])


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the accuracy right/count.

    In `count` faces drawn with replacement, the number of right ones is binomial(count, right/count), so
    resamples are drawn as counts: the same distribution as drawing indices, but faster. The interval
    covers the choice of faces, not the choice of the training seed.
    """
    generator = np.random.default_rng(0)
    return interval_of(generator.binomial(count, right / count, size=RESAMPLES) / count)


def interval_of(draws_D: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% percentile interval of a figure from its bootstrap draws, float64 (D,)."""
    low, high = np.percentile(draws_D, [2.5, 97.5])
    return float(low), float(high)


def _mean(values: Any) -> float:
    """The mean of the values that are not None; there is at least one, because N is at least 1."""
    return float(np.mean([value for value in values if value is not None]))


def _checked(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Convert the inputs to float64 and int64.

    Raises:
        InputError: shapes do not fit, rows are not probabilities, or labels are out of range.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    if values.ndim != 2 or truth.shape != values.shape[:1] or not values.size:
        raise InputError(
            f"probabilities of shape {values.shape} and labels of shape {truth.shape} cannot be "
            "scored: give (N, K) and (N,) with at least one face"
        )
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1)
    bad |= ~(np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if bad.any():
        raise InputError(
            f"the predictor gave {int(bad.sum())} rows that are not probabilities, the first is "
            f"row {int(bad.argmax())}: each must lie in 0..1 and sum to 1; "
            "train again or give another model"
        )
    if truth.min() < 0 or truth.max() >= values.shape[1]:
        raise InputError(
            f"labels reach from {truth.min()} to {truth.max()}, but there are {values.shape[1]} "
            "probabilities a face; give data with the label set of the run"
        )
    return values, truth
