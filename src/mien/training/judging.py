"""Validate a training: make the network that would be kept, and compute its figures on the validation faces.

Shapes: N validation faces, K expressions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.data.ferplus import read_votes
from mien.data.store import FaceView
from mien.errors import InputError
from mien.evaluation.metrics import confusion_matrix, cross_entropy
from mien.evaluation.people import majority_of, people_score
from mien.models import Classifier
from mien.models.preparing import prepare
from mien.recipe import Recipe
from mien.training.averaging import blended, with_precise_norm
from mien.training.distributed import Team
from mien.training.feed import FaceFeed
from mien.training.seeds import Stream, stream_seed

_BATCH = 256


@dataclass(frozen=True)
class Validation:
    """The validation figures of one epoch.

    Attributes:
        loss: cross-entropy in nats; NaN if the network's answers are not finite.
        accuracy: 0..1.
        people: the score by the majorities of FER+'s annotators, 0..1; None if the recipe has no votes.
        confusion: int64 (K, K), faces by true expression (row) and answer (column).
    """

    loss: float
    accuracy: float
    people: float | None
    confusion: NDArray[np.int64]


class Judge:
    """Makes the network that would be kept from the one in training, and validates it."""

    def __init__(self, recipe: Recipe, validation: FaceView, feed: FaceFeed, team: Team) -> None:
        self._recipe = recipe
        self._validation = validation
        self._feed = feed
        self._team = team
        self._majority_N = self._majority()

    def _majority(self) -> NDArray[np.int64] | None:
        """The majorities of the annotators on the validation faces, int64 (N,); None if there are no votes.

        Raises:
            InputError: the recipe selects by people, but there are no majorities.
        """
        votes = self._recipe.targets.votes
        if votes is None:
            return None
        majority_N = majority_of(read_votes(votes), self._validation)
        if (majority_N >= 0).any():
            return majority_N
        if self._recipe.select == "people":
            raise InputError(
                f"{votes}: no majority on any validation face, so it cannot judge; "
                "give more validation faces, or select=accuracy"
            )
        return None

    def kept(self, module: nn.Module, start: Mapping[str, Tensor] | None) -> nn.Module:
        """Make the network that would be kept: blended with the initial weights, with precise BatchNorm statistics.

        Args:
            module: the network in training; it is returned itself if the recipe asks for neither.
            start: the initial weights, if a share of them is kept.
        """
        self._team.align(module)
        if start is not None:
            module = blended(module, start, self._recipe.init_share)
        if self._recipe.precise_norm is None:
            return module
        generator = torch.Generator().manual_seed(stream_seed(self._recipe.seed, Stream.NORM))
        chosen = torch.randperm(len(self._feed), generator=generator)[: self._recipe.precise_norm]
        # Split evenly: a last batch of a single face would have no variance.
        parts = torch.tensor_split(chosen, math.ceil(len(chosen) / _BATCH))
        batches = self._feed.batches(parts)
        return with_precise_norm(
            module, (prepare(faces, self._recipe.input) for faces, _ in batches)
        )

    def validate(self, kept: nn.Module) -> Validation:
        """Compute the figures of a kept network on the validation faces."""
        labels_N = self._validation.labels
        probabilities_NK = self._probabilities(kept)
        predicted_N = probabilities_NK.argmax(axis=1)
        # The last step may have made weights infinite after a finite loss; probabilities are then NaN.
        is_finite = bool(np.isfinite(probabilities_NK).all())
        return Validation(
            loss=cross_entropy(probabilities_NK, labels_N) if is_finite else math.nan,
            accuracy=float((predicted_N == labels_N).mean()),
            people=(
                None if self._majority_N is None else people_score(predicted_N, self._majority_N)
            ),
            confusion=confusion_matrix(labels_N, predicted_N, len(self._recipe.expressions)),
        )

    def _probabilities(self, kept: nn.Module) -> NDArray[np.float32]:
        """The probabilities of the validation faces, float32 (N, K); processes share the work."""
        classify = Classifier(kept, self._recipe.input, self._recipe.expressions)
        store, indices = self._validation.store, self._validation.indices
        batches = [indices[start : start + _BATCH] for start in range(0, len(indices), _BATCH)]
        return np.concatenate(
            self._team.map(lambda batch: classify(store.faces(batch).pixels()), batches)
        )
