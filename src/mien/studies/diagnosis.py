"""A diagnosis: the trials of one recipe that explain its overfitting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mien.data.ferplus import LabelledVotes
from mien.data.store import FaceView
from mien.recipe import Recipe
from mien.studies.plan import PlannedTrial
from mien.studies.trials import Outcome


@dataclass(frozen=True)
class Diagnosis:
    """The outcomes of the trials of one recipe.

    Attributes:
        recipe: the recipe in question.
        base: share of the training faces, 0..1, for all trials but those of the learning curve.
        train, validation: all faces of the recipe's split.
        outcomes: step -> outcome, in the order of the plan.
        left_out: step -> its estimated seconds.
        votes: votes of the FER+ annotators on the store's faces, or None.
        budget: allowed seconds of the last call.
        out: folder of trials and report.
    """

    recipe: Recipe
    base: float
    train: FaceView
    validation: FaceView
    outcomes: dict[PlannedTrial, Outcome]
    left_out: dict[PlannedTrial, float]
    votes: LabelledVotes | None
    budget: float
    out: Path

    @property
    def baseline(self) -> Outcome:
        """The outcome of the unchanged recipe on the base share."""
        return next(iter(self.outcomes.values()))

    def of(self, factor: str) -> list[Outcome]:
        """List the outcomes of one factor: a key of FACTORS, or "baseline"."""
        return [outcome for step, outcome in self.outcomes.items() if step.factor == factor]
