"""A diagnosis: the trials of one recipe that say why it overfits."""

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
    """What the trials of one recipe gave.

    Attributes:
        recipe: the recipe in question.
        base: share of the training faces that the trials use, but for those of the learning curve.
        train, validation: the faces of the recipe's split, whole.
        outcomes: step -> outcome, in the order of the plan.
        left_out: step -> the seconds it would have taken.
        votes: what FER+ annotators say of the store's faces, or None.
        budget: seconds that were allowed.
        out: the folder of it all.
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
        """The recipe as it is, on the base share."""
        return next(iter(self.outcomes.values()))

    def of(self, factor: str) -> list[Outcome]:
        """The outcomes that answer one question."""
        return [outcome for step, outcome in self.outcomes.items() if step.factor == factor]
