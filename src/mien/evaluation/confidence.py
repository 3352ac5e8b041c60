"""How far a run's probabilities can be trusted, as `mien export` would calibrate them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.calibration import fit_temperature, fit_uncertain_below, softmax
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


@dataclass(frozen=True)
class Confidence:
    """Single view, before and after the temperature that validation faces ask for.

    Attributes:
        shown: the split that the rest is of: test, else validation.
        temperature, uncertain_below: as `mien.evaluation.calibration` fits them, to validation faces.
        before, after: the scores.
        curve: what is wrong among the most confident answers, after.
    """

    shown: str
    temperature: float
    uncertain_below: float
    before: Scores
    after: Scores
    curve: RiskCoverage

    @property
    def answered(self) -> tuple[float, float | None]:
        """(share of faces that are not uncertain, share of these that is named wrongly)."""
        return self.curve.at(self.uncertain_below)

    @property
    def doubt(self) -> str:
        """Where `uncertain` begins and what it leaves, in a sentence."""
        if self.uncertain_below >= 1:
            return (
                "On validation faces no answer, however sure, is right more often than wrong: every one "
                "is called uncertain."
            )
        if self.uncertain_below <= 0:
            return (
                "On validation faces even the least sure answers are right as often as wrong: none is "
                "called uncertain."
            )
        coverage, risk = self.answered
        return (
            f"Below a probability of {self.uncertain_below:.3f} an answer is called uncertain: "
            f"{percent(coverage, 0)} of the faces are then answered, and {figure_text('', risk)} of "
            "these answers are wrong."
        )


def confidence(evaluations: Mapping[str, Evaluation]) -> Confidence | None:
    """Of evaluations of the same weights, by split; None without the validation split."""
    validation = evaluations.get("validation")
    if validation is None:
        return None
    shown = evaluations.get("test", validation)
    temperature = fit_temperature(_logits(validation), validation.labels)
    after = softmax(_logits(shown), temperature)
    fitted = after if shown is validation else softmax(_logits(validation), temperature)
    return Confidence(
        shown=shown.split,
        temperature=temperature,
        uncertain_below=fit_uncertain_below(*_answers(fitted, validation.labels)),
        before=shown.scores[_VIEW].official,
        after=compute_scores(after, shown.labels),
        curve=risk_coverage(*_answers(after, shown.labels)),
    )


def _logits(evaluation: Evaluation) -> NDArray[np.floating]:
    """A softmax of the logarithm gives the probabilities back: as good as the network's logits."""
    return np.log(np.maximum(evaluation.probabilities[_VIEW], SMALLEST_PROBABILITY))


def _answers(
    probabilities_NK: NDArray[np.float64], labels_N: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(confidence, whether it is right) of each face."""
    return probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1) == labels_N
