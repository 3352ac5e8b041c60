"""A trial: a recipe trained on some of the faces, with their labels or with labels dealt anew; kept once finished."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.data.splits import stratified
from mien.data.store import FaceView
from mien.evaluation import Evaluation, score
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.models import OwnFile
    from mien.training import Recipe, Watcher

#: Training faces that a trained trial is scored on: enough for an interval of ± 1.4 points.
SAMPLE = 5_000


@dataclass(frozen=True)
class Trial:
    """One training of a study.

    name: of its folder, and of the trial in the study's files.
    label: what people read.
    recipe: what is trained.
    share: of the training faces, stratified; what a smaller share holds, a larger one holds too.
    shuffled: whether the training labels are dealt anew at random.
    """

    name: str
    label: str
    recipe: Recipe
    share: float = 1.0
    shuffled: bool = False

    def faces(self, train: FaceView) -> FaceView:
        """The faces that the trial trains on, out of all training faces."""
        chosen = train if self.share == 1 else subset(train, self.share)
        return with_shuffled_labels(chosen) if self.shuffled else chosen


@dataclass(frozen=True)
class Outcome:
    """A finished trial: its run, and the scores of the kept weights, seen plainly.

    Attributes:
        train: on up to `SAMPLE` of the faces it was fitted to (on all where the study says so), with
            the labels it was fitted to, without augmentation and dropout.
        validation: on the validation faces.
    """

    trial: Trial
    run: RunFolder
    train: Evaluation
    validation: Evaluation

    @property
    def train_accuracy(self) -> float:
        """0..1."""
        return self.train.scores["none"].official.accuracy

    @property
    def validation_accuracy(self) -> float:
        """0..1."""
        return self.validation.scores["none"].official.accuracy

    @property
    def gap(self) -> float:
        """The overfitting gap, -1..1: accuracy on the training faces less that on validation."""
        return self.train_accuracy - self.validation_accuracy

    @property
    def seconds(self) -> float:
        """What the training took."""
        return sum(row["seconds"] for row in self.run.history())


def subset(faces: FaceView, share: float) -> FaceView:
    """A stratified share of some faces, in their order; drawn by digest, so nested and layout-free."""
    drawn = stratified(faces.labels, faces.digests, share, seed=0)
    return faces.store.faces(faces.indices[drawn])


def with_shuffled_labels(faces: FaceView, seed: int = 0) -> FaceView:
    """The same faces, their labels dealt anew among them: counts as before, no meaning left."""
    labels = faces.store.labels.copy()
    labels[faces.indices] = np.random.default_rng(seed).permutation(faces.labels)
    fingerprint = hashlib.sha256(f"{faces.store.fingerprint} shuffled {seed}".encode()).hexdigest()
    store = replace(faces.store, labels=labels, fingerprint=fingerprint, path=None)
    return store.faces(faces.indices)


def complete(
    trial: Trial,
    train: FaceView,
    validation: FaceView,
    folder: Path,
    device: str,
    *,
    watchers: Sequence[Watcher] = (),
    command: str | None = None,
    own: OwnFile | None = None,
    all_train_faces: bool = False,
) -> Outcome:
    """The outcome of a trial: trained, or trained on where it was stopped, or as it lies there finished.

    Args:
        trial: what to train.
        train: all training faces; the trial takes its share. validation: those that select.
        folder: where the run of the trial is, or comes to be.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        watchers: told of every epoch.
        command: what was typed, for the record.
        own: the file of one's own that registers the network, for the record.
        all_train_faces: score all its training faces instead of a sample.
    """
    fitted = trial.faces(train)
    run = train_with(
        own,
        trial.recipe,
        fitted,
        validation,
        folder,
        device=device,
        watchers=watchers,
        command=command,
    )
    if not all_train_faces and len(fitted) > SAMPLE:
        fitted = subset(fitted, SAMPLE / len(fitted))
    return Outcome(
        trial,
        run,
        train=_scored(run, fitted, "train", device),
        validation=_scored(run, validation, "validation", device),
    )


def train_with(
    own: OwnFile | None,
    recipe: Recipe,
    train: FaceView,
    validation: FaceView,
    folder: Path,
    *,
    device: str,
    watchers: Sequence[Watcher],
    command: str | None,
) -> RunFolder:
    """Train a run of a study, or go on with it. It keeps the file of one's own that its network is of, as a record."""
    from mien import training

    resume = (folder / "recipe.json").exists()
    if own is not None and not resume:
        own.keep(RunFolder(folder))
    return training.train(
        recipe,
        train,
        validation,
        folder,
        device=device,
        resume=resume,
        watchers=watchers,
        notes={"command": command} | ({} if own is None else own.notes),
    )


def _scored(run: RunFolder, faces: FaceView, split: str, device: str) -> Evaluation:
    """The saved evaluation where it is of these weights and faces; else a new one, saved."""
    if run.evaluation(split) is not None:
        saved = Evaluation.load(run, split)
        if saved.weights == run.weights_digest() and saved.rows.tolist() == faces.rows.tolist():
            return saved
    from mien.models import load_classifier

    scored = score(
        load_classifier(run, device), faces, faces.digests[:0], views=("none",), split=split
    )
    scored = replace(scored, weights=run.weights_digest())
    scored.save(run)
    return scored
