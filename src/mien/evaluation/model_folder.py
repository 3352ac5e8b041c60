"""The folder for evaluations of a model file: scores, probabilities and report, as in a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mien.card import ModelCard
from mien.errors import InputError, writing_to
from mien.recipe import Recipe, from_dict
from mien.runs import RunFolder


@dataclass(frozen=True)
class ModelFolder(RunFolder):
    """A run folder for evaluations and reports only; facts of the training come from the model's card.

    Attributes:
        card: the card of the model file.
    """

    card: ModelCard

    def make(self) -> None:
        """Create the folder if it does not exist.

        Raises:
            InputError: it holds a run, or cannot be written.
        """
        if self.recipe_path.exists():
            raise InputError(f"{self.path}: holds a run; choose another folder with --out")
        with writing_to(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def recipe(self) -> Recipe:
        """The recipe in the card.

        Raises:
            InputError: the card's recipe is not one of mien's.
        """
        told = self.card.provenance.get("recipe")
        known = told if isinstance(told, dict) else {"model": {"name": "unknown"}}
        own = {"name": self.card.name, "expressions": self.card.expressions}
        return from_dict({**known, **own}, f"{self.card.name}, the recipe in its card")

    def known_environment(self) -> dict[str, Any]:
        """Data and versions of the training, from the card."""
        told = self.card.provenance
        kept: dict[str, Any] = {
            name: told[name] for name in ("mien", "torch", "trained") if name in told
        }
        data = told.get("data")
        return {**kept, "data": data if isinstance(data, dict) else {}, "model": self.card.digest}

    def weights_digest(self) -> str:
        """The digest of the model file's graph."""
        return self.card.digest
