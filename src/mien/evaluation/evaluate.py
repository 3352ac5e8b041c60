"""The one evaluation loop: any predictor on any faces, and a run's best weights on a split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.data.exclusions import Exclusions, read_exclusions
from mien.data.near import near_copies
from mien.data.splits import SplitRule, Splits
from mien.data.splits import split as split_store
from mien.data.store import Faces, FaceStore
from mien.errors import InputError, extra_required, near_names
from mien.evaluation.evaluation import Evaluation, ViewScores
from mien.evaluation.views import Predictor, find_view, look
from mien.expressions import canonical
from mien.runs import RunFolder

#: What `--split` takes: the name on the command line -> the field of `Splits`.
SPLIT_NAMES = {
    "validation": "validation",
    "test": "test",
    "official-validation": "official_validation",
    "train": "train",
}

#: Told after each batch: (faces done, faces in all).
Progress = Callable[[int, int], None]


def score(
    predict: Predictor,
    faces: Faces,
    train_digests: NDArray[np.uint64],
    views: Sequence[str] = ("none", "flip"),
    batch_size: int = 256,
    progress: Progress | None = None,
    *,
    split: str = "faces",
    near: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Score a predictor on faces, officially and without the copies of training faces.

    Args:
        predict: uint8 (B, C, H, W) -> probabilities (B, K), one a name of faces.expressions.
        faces: N of them, at least one.
        train_digests: uint64 (M, 2), the 128-bit digests of the faces that trained the predictor.
        views: names in VIEWS.
        batch_size: faces at a time; the scores do not depend on it.
        progress: told after each batch.
        split: the name the evaluation goes by.
        near: bool (N,), which faces have an exact or near copy among those that trained the
            predictor; None where that was not looked for.
    """
    if not len(faces):
        raise InputError(
            f"{faces.store.source}: the {split} split is empty; choose another with --split"
        )
    for view in views:
        find_view(view)
    probabilities = {
        view: np.empty((len(faces), len(faces.expressions)), dtype=np.float32) for view in views
    }
    done = 0
    for batch in faces.batches(batch_size):
        for view, answer in look(predict, batch, views).items():
            if answer.shape != (len(batch), len(faces.expressions)):
                raise InputError(
                    f"{faces.store.source}: the predictor answered {len(batch)} faces of "
                    f"{len(faces.expressions)} expressions with an array of shape {answer.shape}; "
                    "give data with the label set of the run"
                )
            probabilities[view][done : done + len(batch)] = answer
        done += len(batch)
        if progress is not None:
            progress(done, len(faces))
    labels = np.asarray(faces.labels, dtype=np.int64)
    copies = find_copies(faces.digests, train_digests)
    near = None if near is None else near | copies
    return Evaluation(
        expressions=faces.expressions,
        split=split,
        rows=faces.rows,
        labels=labels,
        copies=copies,
        training_faces=len(train_digests),
        probabilities=probabilities,
        scores={
            view: ViewScores.of(values, labels, copies, near, len(train_digests))
            for view, values in probabilities.items()
        },
        source=faces.store.source,
        fingerprint=faces.store.fingerprint,
        near_copies=near,
    )


def find_copies(
    digests_N2: NDArray[np.uint64], train_digests_M2: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """bool (N,): True where a 128-bit digest occurs among the training ones."""
    known = set(map(tuple, train_digests_M2.tolist()))
    return np.array([tuple(digest) in known for digest in digests_N2.tolist()], dtype=np.bool_)


@dataclass(frozen=True)
class Subject:
    """What is scored on what.

    Attributes:
        predict: uint8 (B, C, H, W) -> probabilities (B, K).
        faces: of the split, labelled in the order of K.
        trained: the faces that trained the predictor, of the same store.
        split: its name.
        weights: sha256 of the predictor's weights, or None.
    """

    predict: Predictor
    faces: Faces
    trained: Faces
    split: str
    weights: str | None

    @classmethod
    def of_run(cls, run: RunFolder, store: FaceStore, split: str, device: str = "auto") -> Subject:
        """A run's best weights, and a split of a store by the run's own rule."""
        faces, trained = faces_to_score(run, store, split)
        with extra_required("train", "evaluating a run"):
            from mien.models import load_classifier
        classifier = load_classifier(run, device)
        if tuple(map(canonical, classifier.expressions)) != faces.expressions:
            raise InputError(
                f"{run.path}: the weights know {', '.join(classifier.expressions)}, the recipe "
                f"{', '.join(faces.expressions)}; the run folder was mixed up, train again"
            )
        return cls(classifier, faces, trained, split, weights_digest(run))

    @classmethod
    def of_model(
        cls, card: ModelCard, predict: Predictor, store: FaceStore, split: str, where: str
    ) -> Subject:
        """A model file, whose card says what it was trained on; `where` is its name, for messages."""
        recipe = card.provenance.get("recipe")
        data = card.provenance.get("data")
        faces, trained = _chosen_faces(
            {**(recipe if isinstance(recipe, dict) else {}), "expressions": card.expressions},
            store,
            split,
            where=where,
            recipe_in=where,
            trained_on=data.get("fingerprint") if isinstance(data, dict) else None,
        )
        return cls(predict, faces, trained, split, card.digest)

    def without(self, excluded: Exclusions | None) -> Subject:
        """The same, scored without the faces on a list."""
        return self if excluded is None else replace(self, faces=excluded.applied(self.faces))

    def evaluated(
        self,
        tta: str = "none",
        *,
        batch_size: int = 256,
        progress: Progress | None = None,
        command: str | None = None,
    ) -> Evaluation:
        """The scores, with view "none" and the view `tta` beside it, official and without copies."""
        # Every training face is a copy of itself: there is nothing to leave out.
        trained = self.trained.store.faces(self.trained.indices[:0])
        trained = trained if self.split == "train" else self.trained
        evaluation = score(
            self.predict,
            self.faces,
            trained.digests,
            tuple(dict.fromkeys(("none", tta))),
            batch_size,
            progress,
            split=self.split,
            near=near_copies(self.faces, trained),
        )
        return replace(evaluation, command=command, weights=self.weights)


def evaluate_run(
    run: RunFolder,
    store: FaceStore,
    split: str = "validation",
    tta: str = "none",
    device: str = "auto",
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
    command: str | None = None,
) -> Evaluation:
    """Score a run's best weights on a split of a store, save the evaluation in the run, return it.

    View "none" is always scored, and the view `tta` beside it. Copies are looked for among the faces
    the run's split rule trains on: all of Training under the official split, what a holdout leaves of
    it otherwise; less those that the run was told to leave out.
    """
    check_request(split, tta)
    subject = Subject.of_run(run, store, split, device)
    evaluation = subject.evaluated(tta, batch_size=batch_size, progress=progress, command=command)
    evaluation.save(run)
    return evaluation


def check_request(split: str, tta: str) -> None:
    """InputError for a split or a view that there is not."""
    if split not in SPLIT_NAMES:
        raise InputError(f"unknown split {split!r}: {near_names(split, SPLIT_NAMES)}")
    find_view(tta)


def faces_to_score(run: RunFolder, store: FaceStore, split: str) -> tuple[Faces, Faces]:
    """(faces of the split, faces the run trains on), labelled in the order of the run's recipe."""
    environment = run.environment() if run.environment_path.is_file() else {}
    fingerprint = (environment.get("data") or {}).get("fingerprint")
    faces, trained = _chosen_faces(
        run.recipe(),
        store,
        split,
        where=str(run.path),
        recipe_in=str(run.recipe_path),
        trained_on=fingerprint,
    )
    if run.exclusions_path.is_file() and fingerprint == store.fingerprint:
        trained = read_exclusions(run.exclusions_path).applied(trained)
    return faces, trained


def _chosen_faces(
    recipe: dict[str, Any],
    store: FaceStore,
    split: str,
    *,
    where: str,
    recipe_in: str,
    trained_on: str | None,
) -> tuple[Faces, Faces]:
    """As `faces_to_score`, of whatever was trained by a recipe on data of a fingerprint."""
    splits = split_store(_relabelled(store, recipe, where), _split_rule(recipe, recipe_in))
    faces: Faces = getattr(splits, SPLIT_NAMES[split])
    if not len(faces):
        raise InputError(
            f"{store.source}: the {split} split is empty, there is nothing to score; "
            "choose another with --split"
        )
    if split in ("train", "validation") and _is_carved(splits):
        _refuse_other_data(where, trained_on, store)
    return faces, splits.train


def weights_digest(run: RunFolder) -> str | None:
    """sha256 of the run's best weights, or None where there are none."""
    return _sha256(run.best_weights) if run.best_weights.is_file() else None


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _split_rule(recipe: dict[str, Any], where: str) -> SplitRule:
    try:
        rule = recipe["split"]
        holdout = rule["holdout"]
        return SplitRule(None if holdout is None else float(holdout), int(rule["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: no split rule that can be read ({error!r}); train again"
        ) from error


def _relabelled(store: FaceStore, recipe: dict[str, Any], where: str) -> FaceStore:
    """The store with labels in the recipe's order: another order is mapped by name."""
    expressions = tuple(canonical(name) for name in recipe.get("expressions") or ())
    if store.expressions == expressions:
        return store
    if sorted(store.expressions) != sorted(expressions):
        raise InputError(
            f"{store.source}: its expressions are {', '.join(store.expressions)}, but {where} "
            f"was trained on {', '.join(expressions) or 'none that its recipe names'}; "
            "give data with the same set"
        )
    position = np.array([expressions.index(name) for name in store.expressions], dtype=np.int64)
    return replace(store, labels=position[store.labels], expressions=expressions)


def _is_carved(splits: Splits) -> bool:
    """Whether the validation faces were drawn from Training instead of being the source's own."""
    return not np.array_equal(splits.validation.indices, splits.official_validation.indices)


def _refuse_other_data(where: str, trained_on: str | None, store: FaceStore) -> None:
    """A drawn validation split means something only for the data it was drawn from.

    Drawn again from other data, or from part of the same, it would hold faces the run trained on.
    """
    if trained_on is not None and trained_on != store.fingerprint:
        raise InputError(
            f"{store.source}: {where} drew its validation faces from other data "
            f"(fingerprint {trained_on[:12]}, not {store.fingerprint[:12]}); "
            "give the data it was trained on, or another --split"
        )
