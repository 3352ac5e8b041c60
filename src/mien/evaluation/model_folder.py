"""The folder of a model file's evaluations: scores, probabilities and report, as a run has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mien.card import ModelCard
from mien.errors import InputError, writing_to
from mien.recipe import Recipe, from_dict
from mien.runs import RunFolder


@dataclass(frozen=True)
class ModelFolder(RunFolder):
    """Like a run's folder to all that scores and reports, but what it knows of a training is the card's.

    card: of the model file that is scored.
    """

    card: ModelCard

    def make(self) -> None:
        """Make the folder where it is not there; InputError where it is a run's, or cannot be written to."""
        if self.recipe_path.exists():
            raise InputError(f"{self.path}: holds a run; choose another folder with --out")
        with writing_to(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def recipe(self) -> Recipe:
        """The recipe as the card tells it; InputError where it tells one that is none of mien's."""
        told = self.card.provenance.get("recipe")
        known = told if isinstance(told, dict) else {"model": {"name": "unknown"}}
        own = {"name": self.card.name, "expressions": self.card.expressions}
        return from_dict({**known, **own}, f"{self.card.name}, the recipe in its card")

    def known_environment(self) -> dict[str, Any]:
        """Data and versions of the training, as the card tells them."""
        told = self.card.provenance
        kept: dict[str, Any] = {
            name: told[name] for name in ("mien", "torch", "trained") if name in told
        }
        data = told.get("data")
        return {**kept, "data": data if isinstance(data, dict) else {}, "model": self.card.digest}

    def weights_digest(self) -> str:
        """The digest of the model file's graph."""
        return self.card.digest
