"""A trial: a recipe trained on some of the faces, with their labels or with permuted ones. Finished trials are kept."""

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
from mien.files import spreadsheet_name
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.models import OwnFile
    from mien.training import Recipe, Watcher

#: Training faces that a trained trial is scored on at most: enough for a 95 % interval of ± 1.4 points.
SAMPLE = 5_000


@dataclass(frozen=True)
class Trial:
    """One training of a study.

    Attributes:
        name: name of its folder, and of the trial in the study's files.
        label: its name for people.
        recipe: the recipe to train.
        share: stratified share of the training faces, above 0 up to 1. A larger share contains every smaller one.
        shuffled: whether the training labels are permuted at random.
    """

    name: str
    label: str
    recipe: Recipe
    share: float = 1.0
    shuffled: bool = False

    def faces(self, train: FaceView) -> FaceView:
        """Choose the faces that the trial trains on, with their labels permuted if the trial asks for it."""
        chosen = train if self.share == 1 else subset(train, self.share)
        return with_shuffled_labels(chosen) if self.shuffled else chosen


@dataclass(frozen=True)
class Outcome:
    """A finished trial: its run, and the scores of the kept weights without augmentation and dropout.

    Attributes:
        trial: the trial.
        run: its run folder.
        train: scores on up to `SAMPLE` of its training faces (on all if the study asks for it), with the
            labels that it was trained with.
        validation: scores on the validation faces.
    """

    trial: Trial
    run: RunFolder
    train: Evaluation
    validation: Evaluation

    @property
    def train_accuracy(self) -> float:
        """Accuracy on the training faces, 0..1."""
        return self.train.scores["none"].official.accuracy

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on the validation faces, 0..1."""
        return self.validation.scores["none"].official.accuracy

    @property
    def gap(self) -> float:
        """The overfitting gap, -1..1: accuracy on the training faces minus accuracy on the validation faces."""
        return self.train_accuracy - self.validation_accuracy

    @property
    def seconds(self) -> float:
        """Duration of the training."""
        return self.run.seconds()


def subset(faces: FaceView, share: float) -> FaceView:
    """Draw a stratified share, 0..1, of some faces and keep their order.

    The draw depends on the digests alone: a larger share contains every smaller one, and the order of the files does
    not matter.
    """
    drawn = stratified(faces.labels, faces.digests, share, seed=0)
    return faces.store.faces(faces.indices[drawn])


def with_shuffled_labels(faces: FaceView, seed: int = 0) -> FaceView:
    """Permute the labels of some faces among them: the counts stay, the link between face and label is lost."""
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
    """Train a trial, resume it if it was stopped, or take it as it is if it is finished; then score it.

    Args:
        trial: the trial to train.
        train: all training faces; the trial takes its share.
        validation: the faces that select the weights to keep.
        folder: the trial's run folder; need not exist.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        watchers: told of every epoch.
        command: the command line, for the record.
        own: the user's file that registers the network, for the record.
        all_train_faces: score all its training faces instead of a sample.

    Returns:
        The run and its scores on training and validation faces.

    Raises:
        InputError: the folder holds a run of another recipe or of other data, or the device cannot train it.
        StoppedError: SIGINT or SIGTERM; the run is saved and can be resumed.
        MienError: the loss became NaN or infinite, or the device's memory is full.
    """
    from mien import training

    fitted = trial.faces(train)
    run = training.train(
        trial.recipe,
        fitted,
        validation,
        folder,
        device=device,
        resume=RunFolder(folder).recipe_path.exists(),
        watchers=watchers,
        notes={"command": command},
        own=own,
    )
    if not all_train_faces and len(fitted) > SAMPLE:
        fitted = subset(fitted, SAMPLE / len(fitted))
    return Outcome(
        trial,
        run,
        train=_scored(run, fitted, "train", device),
        validation=_scored(run, validation, "validation", device),
    )


def _scored(run: RunFolder, faces: FaceView, split: str, device: str) -> Evaluation:
    """Load the saved evaluation if it is of these weights and faces; else evaluate and save."""
    if run.evaluation(split) is not None:
        saved = Evaluation.load(run, split)
        if saved.weights == run.weights_digest() and saved.rows.tolist() == list(
            map(spreadsheet_name, faces.rows)
        ):
            return saved
    from mien.models import load_classifier

    scored = score(
        load_classifier(run, device), faces, faces.digests[:0], views=("none",), split=split
    )
    scored = replace(scored, weights=run.weights_digest())
    scored.save(run)
    return scored
