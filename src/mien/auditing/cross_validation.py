"""Find labels that networks reject on faces they were not trained on, by cross-validation."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.auditing.findings import Finding
from mien.data.copies import grouped
from mien.data.near import near_pairs
from mien.data.splits import needed, split
from mien.data.store import TRAIN, FaceStore, FaceView
from mien.errors import InputError, extra_required, quantity

if TYPE_CHECKING:
    from mien.training import Recipe


#: Number of parts of the training faces; each is judged by a network that was trained on the others.
FOLDS = 4
#: The recipe to train: the fastest one, and the best after few epochs.
RECIPE = "basic-cnn"
#: Number of faces to measure the speed of training with.
_PROBE = 2_048
#: Networks count as trained if their accuracy is this many times the share of the most frequent expression.
_ABOVE_GUESSING = 1.5
#: Smallest number of training faces per fold.
_LEAST = 50


@dataclass(frozen=True)
class CrossValidation:
    """A search of `mien data audit`: trains a network for each fold, as many epochs as a budget allows.

    Attributes:
        budget: minutes for all folds together, above 0.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
    """

    budget: float
    device: str = "auto"

    def __call__(
        self, store: FaceStore, progress: Callable[[str, int, int], None]
    ) -> list[Finding]:
        """Find the rejected labels of all splits; those of Training are excluded.

        Args:
            store: the faces.
            progress: called before each fold with ("labels", folds done, folds in all).

        Raises:
            InputError: as for `probabilities`; or the networks are hardly better than the most frequent expression.
        """
        probabilities, epochs = self.probabilities(store, progress)
        right = probabilities.argmax(axis=1) == store.labels
        most = np.bincount(store.labels).max() / len(store)
        if right.mean() < _ABOVE_GUESSING * most:
            raise InputError(
                f"--budget {self.budget:g}: after {quantity(epochs, 'epoch')} networks are right about "
                f"{right.mean():.0%} of faces, and naming the most frequent expression would be about "
                f"{most:.0%}: what they reject says nothing; give more minutes"
            )
        faces, taken = rejected_labels(probabilities, store.labels)
        notes = tuple(
            f"{probabilities[face, expression]:.0%} {store.expressions[expression]}, "
            f"{probabilities[face, store.labels[face]]:.0%} the label"
            for face, expression in zip(faces.tolist(), taken.tolist(), strict=True)
        )
        explanation = (
            f"Networks ({RECIPE}, {quantity(epochs, 'epoch')}, {FOLDS} folds, right about {right.mean():.0%} of faces) "
            "that were not trained on these faces take them confidently for something else. Such a network "
            "is wrong itself about many: look before you leave them out. The list of exclusions has those "
            "of Training."
        )
        return [
            Finding(
                "label rejected by networks",
                "Labels that networks reject",
                explanation,
                faces,
                notes,
                store.splits[faces] == TRAIN,
            )
        ]

    def probabilities(
        self, store: FaceStore, progress: Callable[[str, int, int], None]
    ) -> tuple[NDArray[np.float32], int]:
        """Judge every face by networks that were trained neither on it nor on a copy of it.

        A training face is judged by the network of its fold, the others by the mean of all networks.

        Args:
            store: the N faces of K expressions.
            progress: called before each fold with ("labels", folds done, folds in all).

        Returns:
            (probabilities, float32 (N, K); the number of trained epochs).

        Raises:
            InputError: a budget that is not above 0, too few training faces or no validation faces.
            StoppedError: SIGINT or SIGTERM.
        """
        if not self.budget > 0:
            raise InputError(f"--budget {self.budget:g}: give minutes, above 0")
        with extra_required("train", "cross-validation"):
            from mien import recipes, training
            from mien.models import load_classifier
        splits = split(store)
        train = needed(splits.train, "train")
        validation = needed(splits.validation, "validation")
        if len(train) < FOLDS * _LEAST:
            raise InputError(
                f"{store.source}: {len(train)} training faces are too few to cross-validate; "
                f"{FOLDS * _LEAST} are needed"
            )
        fold = folds(store, train)
        recipe = replace(recipes.find(RECIPE), expressions=store.expressions)
        others = np.setdiff1d(np.arange(len(store)), train.indices)
        probabilities = np.zeros((len(store), len(store.expressions)), np.float32)
        with tempfile.TemporaryDirectory(prefix="mien-audit-") as folder:
            epochs = self._epochs(recipe, train, validation, Path(folder) / "probe")
            for number in range(FOLDS):
                progress("labels", number, FOLDS)
                run = training.train(
                    replace(recipe, epochs=epochs, seed=number),
                    store.faces(train.indices[fold != number]),
                    validation,
                    Path(folder) / f"fold-{number}",
                    device=self.device,
                )
                classifier = load_classifier(run, self.device)
                for chosen, share in ((train.indices[fold == number], 1.0), (others, 1 / FOLDS)):
                    for start in range(0, len(chosen), 512):
                        part = chosen[start : start + 512]
                        probabilities[part] += share * classifier(store.read(part))
            progress("labels", FOLDS, FOLDS)
        return probabilities, epochs

    def _epochs(self, recipe: Recipe, train: FaceView, validation: FaceView, folder: Path) -> int:
        """Number of epochs that fit the budget, estimated from one epoch on some of the faces."""
        from mien import training

        some = train.store.faces(train.indices[:_PROBE])
        few = validation.store.faces(validation.indices[:_PROBE])
        started = time.monotonic()
        training.train(replace(recipe, epochs=1), some, few, folder, device=self.device)
        pace = (time.monotonic() - started) / len(some)
        # Validation has only the forward pass: a third of the work.
        faces = FOLDS * (len(train) * (1 - 1 / FOLDS) + len(validation) / 3)
        return int(np.clip(60 * self.budget / (pace * faces), 1, recipe.epochs))


def folds(store: FaceStore, train: FaceView) -> NDArray[np.int64]:
    """Assign the training faces to folds: int64 (n,), 0 to FOLDS - 1.

    Copies share a fold; otherwise a network would be trained on a copy of a face that it judges.
    """
    group = grouped(store, near_pairs(store))[train.indices]
    _, place = np.unique(group, return_inverse=True)
    dealt = np.random.default_rng(0).permutation(place.max() + 1) % FOLDS
    return dealt[place]


def rejected_labels(
    probabilities_NK: NDArray[np.floating], labels_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find faces that the network confidently assigns to another expression than their label.

    The threshold of an expression is its mean probability over the faces with that label. A face is
    confidently assigned to the expression whose threshold its probability reaches, or to the most probable
    one if there are several. The label is rejected if that is another expression. Source: Northcutt, Jiang
    & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels (JAIR 70), section 3.1; this
    is the off-diagonal of the confident joint (`confident_learning` of cleanlab).

    Args:
        probabilities_NK: (N, K), 0..1, of a network that was not trained on the face.
        labels_N: int64 (N,).

    Returns:
        (positions of the faces, int64 (n,); their assigned expressions, int64 (n,)), in increasing order of the
        label's probability minus that of the assigned expression.
    """
    probabilities = np.asarray(probabilities_NK, np.float64)
    labels = np.asarray(labels_N)
    present = np.bincount(labels, minlength=probabilities.shape[1]) > 0
    thresholds = np.array(
        [
            probabilities[labels == label, label].mean() if there else np.inf
            for label, there in enumerate(present)
        ]
    )
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    taken = confident.argmax(axis=1)
    rejected = np.flatnonzero((confident.max(axis=1) >= 0) & (taken != labels))
    margin = probabilities[rejected, labels[rejected]] - probabilities[rejected, taken[rejected]]
    order = rejected[np.argsort(margin, kind="stable")]
    return order, taken[order]
