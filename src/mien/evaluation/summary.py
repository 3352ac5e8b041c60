"""Headline figures of evaluations, and several seeds as mean ± standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mien.errors import InputError
from mien.evaluation.evaluation import Evaluation, ViewScores
from mien.evaluation.text import BRIER
from mien.runs import RunFolder, validated

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


class OfSeeds:
    """Figures of the trainings of several seeds.

    Attributes:
        runs: one for each seed.
    """

    runs: tuple[RunFolder, ...]

    @cached_property
    def histories(self) -> list[list[dict[str, float]]]:
        """The validated epochs of each seed that has any."""
        return [history for run in self.runs if (history := validated(run.history()))]

    @property
    def epochs(self) -> MeanSd | None:
        counts = [count for run in self.runs if (count := len(run.history()))]
        return over_seeds(counts) if counts else None

    @property
    def seconds(self) -> MeanSd | None:
        """Seconds of training."""
        sums = [seconds for run in self.runs if (seconds := run.seconds())]
        return over_seeds(sums) if sums else None


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


def check_members(count: int) -> None:
    """Check the number of an ensemble's members, before anything is computed.

    Raises:
        InputError: there are fewer than two.
    """
    if count < 2:
        raise InputError("an ensemble needs two or more runs; give more of them, or leave it out")


def ensemble(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Evaluate the mean of the members' probabilities.

    A face is a copy, or near copy, if it is one for any member. Views that a member lacks are left out.

    Args:
        evaluations: two or more, of the same faces.

    Raises:
        InputError: there are fewer than two, their faces, labels or expressions differ, or they are of
            data with other classes than the networks', or only some of them.
    """
    check_members(len(evaluations))
    first, *others = evaluations
    if any(one.across is not None for one in evaluations):
        raise InputError(
            f"{first.source}: an ensemble is scored on data with the networks' own classes alone, all of them; leave "
            "--ensemble out"
        )
    for other in others:
        same = (
            other.expressions == first.expressions
            and np.array_equal(other.rows, first.rows)
            and np.array_equal(other.labels, first.labels)
        )
        if not same:
            raise InputError(
                f"{first.source}: the runs were scored on other faces or labels ({other.source}, "
                f"split {other.split}); an ensemble needs the same for all"
            )
    weights = [one.weights for one in evaluations if one.weights is not None]
    if len(set(weights)) < len(weights):
        raise InputError("an ensemble needs different networks: one was given twice; leave it out")
    copies = np.any([one.copies for one in evaluations], axis=0)
    looked_for = [one.near_copies for one in evaluations if one.near_copies is not None]
    near_copies = np.any(looked_for, axis=0) if len(looked_for) == len(evaluations) else None
    probabilities = {
        view: np.stack([one.probabilities[view] for one in evaluations]).mean(axis=0)
        for view in first.views
        if all(view in other.probabilities for other in others)
    }
    together = replace(
        first,
        copies=copies,
        near_copies=near_copies,
        training_faces=max(one.training_faces for one in evaluations),
        probabilities=probabilities,
        weights=None,
        people=None,
    )
    return together.scored()
