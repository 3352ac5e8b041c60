"""Measure the calibration of a run's probabilities, before and after the calibration of `mien export`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.calibration import (
    SURE_PRECISION,
    Calibration,
    fit_calibration,
    fit_uncertain_below,
    softmax,
)
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.metrics import (
    SMALLEST_PROBABILITY,
    RiskCoverage,
    Scores,
    compute_scores,
    risk_coverage,
)
from mien.evaluation.text import figure_text, percent

_VIEW = "none"
#: The sources of true answers -> their names for people.
JUDGES = {"labels": "the labels", "votes": "the majority of FER+'s annotators"}


@dataclass(frozen=True)
class Confidence:
    """The calibration of a network, single view, before and after fitting on validation faces.

    Attributes:
        shown: the split of the scores and the curve: test if it was evaluated, else validation.
        judge: the source of true answers: `votes` (the majority of annotators) or `labels`.
        calibration, uncertain_below: fitted on validation faces by `mien.evaluation.calibration`.
        before, after: the scores.
        curve: the risk-coverage curve after calibration.
    """

    shown: str
    judge: str
    calibration: Calibration
    uncertain_below: float
    before: Scores
    after: Scores
    curve: RiskCoverage

    @property
    def answered(self) -> tuple[float, float | None]:
        """(share of faces that are not uncertain, share of wrong answers among them)."""
        return self.curve.at(self.uncertain_below)

    @property
    def how(self) -> str:
        """The calibration as text."""
        added = " and an offset for each expression" if self.calibration.offsets else ""
        return f"{self.calibration.temperature:.3f}{added}"

    @property
    def doubt(self) -> str:
        """A sentence about the threshold of uncertain answers and the share of faces that are answered."""
        if self.uncertain_below >= 1:
            return (
                f"On validation faces no threshold makes {percent(SURE_PRECISION, 0)} of the sure answers "
                "right: every answer is called uncertain."
            )
        if self.uncertain_below <= 0:
            return (
                f"On validation faces {percent(SURE_PRECISION, 0)} of all answers are right or more: none "
                "is called uncertain."
            )
        coverage, risk = self.answered
        return (
            f"Below a probability of {self.uncertain_below:.3f} an answer is called uncertain: "
            f"{percent(coverage, 0)} of the faces are then answered, and {figure_text('', risk)} of "
            "these answers are wrong."
        )


def confidence(
    evaluations: Mapping[str, Evaluation], *, lifts_rare: bool = False
) -> Confidence | None:
    """Measure the calibration of a run.

    True answers are the annotators' majorities if all evaluations have them, else the labels.

    Args:
        evaluations: split -> evaluation, all of the same weights.
        lifts_rare: the recipe's `objective.lifts_rare`: also fit offsets, see `fit_calibration`.

    Returns:
        None if the validation split was not evaluated.
    """
    validation = evaluations.get("validation")
    if validation is None:
        return None
    shown = evaluations.get("test", validation)
    judged = validation.majority is not None and shown.majority is not None
    fitted_to, fitted_truth = _judged(validation, judged)
    logits, truth = _judged(shown, judged)
    calibration = fit_calibration(fitted_to, fitted_truth, lifts_rare=lifts_rare)
    after = calibration(logits)
    return Confidence(
        shown=shown.split,
        judge="votes" if judged else "labels",
        calibration=calibration,
        uncertain_below=fit_uncertain_below(*_answers(calibration(fitted_to), fitted_truth)),
        before=compute_scores(softmax(logits), truth) if judged else shown.scores[_VIEW].official,
        after=compute_scores(after, truth),
        curve=risk_coverage(*_answers(after, truth)),
    )


def as_it_answers(
    evaluations: Mapping[str, Evaluation], uncertain_below: float
) -> Confidence | None:
    """Measure the calibration of a model file, which contains its calibration and threshold.

    Returns:
        None if neither the test nor the validation split was evaluated.
    """
    shown = evaluations.get("test", evaluations.get("validation"))
    if shown is None:
        return None
    judged = shown.majority is not None
    truth = shown.truth
    known = truth >= 0
    probabilities = shown.probabilities[_VIEW][known].astype(np.float64)
    scores = compute_scores(probabilities, truth[known])
    return Confidence(
        shown=shown.split,
        judge="votes" if judged else "labels",
        calibration=Calibration(1.0),
        uncertain_below=uncertain_below,
        before=scores,
        after=scores,
        curve=risk_coverage(*_answers(probabilities, truth[known])),
    )


def _judged(
    evaluation: Evaluation, by_votes: bool
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """(logits (M, K), true answers (M,)) of the M faces with a known true answer.

    The logits are the logarithms of the probabilities, which differ from them only by a constant for each face.
    """
    truth = evaluation.truth if by_votes else evaluation.labels
    known = truth >= 0
    probabilities_MK = evaluation.probabilities[_VIEW][known]
    return np.log(np.maximum(probabilities_MK, SMALLEST_PROBABILITY)), truth[known]


def _answers(
    probabilities_NK: NDArray[np.float64], truth_N: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(confidence, whether the answer is right) of each face, both (N,)."""
    return probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1) == truth_N
