"""Headline figures of evaluations, and several seeds as mean ± standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mien.errors import InputError
from mien.evaluation.evaluation import Evaluation, ViewScores
from mien.evaluation.text import BRIER

#: The headline that is shown only if there are near copies.
NEAR = "without near copies"

#: Figures that evaluations of earlier versions lack; pages show them with the reliability diagram.
ADAPTIVE = "adaptive calibration error"
OF_CALIBRATION = (ADAPTIVE, BRIER)

#: The headline figures in the order of all tables: name -> its value, None if undefined.
HEADLINES: dict[str, Callable[[ViewScores], float | None]] = {
    "accuracy": lambda s: s.official.accuracy,
    "deduplicated accuracy": lambda s: s.deduplicated.accuracy if s.deduplicated else None,
    NEAR: lambda s: s.without_near_copies.accuracy if s.without_near_copies else None,
    "balanced accuracy": lambda s: s.official.balanced_accuracy,
    "macro F1": lambda s: s.official.macro_f1,
    "cross-entropy": lambda s: s.official.cross_entropy,
    "calibration error": lambda s: s.official.calibration_error,
    ADAPTIVE: lambda s: s.official.adaptive_calibration_error,
    BRIER: lambda s: s.official.brier_score,
}


@dataclass(frozen=True)
class MeanSd:
    """A figure over n seeds: mean and sample standard deviation (ddof 1; None for one seed)."""

    mean: float
    sd: float | None
    n: int


def over_seeds(values: Sequence[float]) -> MeanSd:
    """Mean and standard deviation of one figure over seeds.

    >>> over_seeds([0.5, 0.7]).mean
    0.6
    """
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return MeanSd(float(np.mean(values)), sd, len(values))


def summarise(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, MeanSd]]:
    """view -> headline -> mean ± sd over the evaluations of several seeds.

    Views that not every evaluation has, and figures not defined in every one, are left out.
    """
    if not evaluations:
        raise InputError("there is no evaluation to summarise; run `mien evaluate` first")
    first = evaluations[0]
    for other in evaluations[1:]:
        if (other.split, other.expressions) != (first.split, first.expressions):
            raise InputError(
                f"evaluations of {first.split} and {other.split} cannot be summarised together: "
                "give one split and one label set"
            )
    summaries: dict[str, dict[str, MeanSd]] = {}
    for view in first.views:
        if any(view not in evaluation.scores for evaluation in evaluations):
            continue
        summaries[view] = {}
        for name, value in HEADLINES.items():
            values = [value(evaluation.scores[view]) for evaluation in evaluations]
            defined = [v for v in values if v is not None]
            if len(defined) == len(values):
                summaries[view][name] = over_seeds(defined)
    return summaries
