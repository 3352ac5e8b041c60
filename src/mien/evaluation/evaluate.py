"""The evaluation loop: score any predictor on any faces, a run on a split, or a model file on other data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.callbacks import Progress
from mien.card import ModelCard
from mien.data.copies import repeats_told
from mien.data.exclusions import Exclusions
from mien.data.ferplus import Votes
from mien.data.mapping import ClassMap
from mien.data.near import near_copies
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError, extra_required, quantity
from mien.evaluation.across import Across, OwnAnswers, name_of
from mien.evaluation.choosing import Chosen, choose, choose_for_run, split_rule_in
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.metrics import accuracy_interval
from mien.evaluation.people import beside_people, majority_of
from mien.evaluation.views import Predictor, look
from mien.expressions import canonical
from mien.runs import RunFolder


def score(
    predict: Predictor,
    faces: FaceView,
    train_digests: NDArray[np.uint64],
    views: Sequence[str] = ("none", "flip"),
    batch_size: int = 256,
    progress: Progress | None = None,
    *,
    split: str = "faces",
    near: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Score a predictor on faces, on all of them and without the copies of training faces.

    Args:
        predict: uint8 (B, C, H, W) -> probabilities (B, K), columns as faces.expressions.
        faces: the N faces, at least one.
        train_digests: uint64 (M, 2), the 128-bit digests of the predictor's training faces.
        views: names in VIEWS.
        batch_size: faces at a time; the scores do not depend on it.
        progress: called after each batch with the faces done and their total.
        split: the name of the evaluation.
        near: bool (N,), whether a face has an exact or near copy in training; None if not searched.

    Raises:
        InputError: there are no faces, a view is unknown, or the probabilities have a wrong shape or values.

    >>> from mien.data import load, split
    >>> parts = split(load("synthetic:35"))
    >>> def predict(faces):
    ...     return np.full((len(faces), 7), 1 / 7)
    >>> evaluation = score(predict, parts.test, parts.train.digests)
    >>> len(evaluation), evaluation.views, round(evaluation.scores["none"].official.cross_entropy, 3)
    (7, ('none', 'flip'), 1.946)
    """
    if not len(faces):
        raise InputError(
            f"{faces.store.source}: the {split} split is empty; choose another with --split"
        )
    probabilities = _probabilities(predict, faces, views, batch_size, progress)
    copies = find_copies(faces.digests, train_digests)
    repeated = repeats_told(faces.digests)
    notes = faces.store.notes
    if repeated is not None and repeated not in notes:
        notes += (f"the {split} split: {repeated}",)
    evaluation = Evaluation(
        expressions=faces.expressions,
        split=split,
        rows=faces.rows,
        labels=np.asarray(faces.labels, dtype=np.int64),
        copies=copies,
        training_faces=len(train_digests),
        probabilities=probabilities,
        source=faces.store.source,
        fingerprint=faces.store.fingerprint,
        # An exact copy is near too, so that leaving out near copies leaves out both.
        near_copies=None if near is None else near | copies,
        notes=notes,
    )
    return evaluation.scored()


def _probabilities(
    predict: Predictor,
    faces: FaceView,
    views: Sequence[str],
    batch_size: int,
    progress: Progress | None,
) -> dict[str, NDArray[np.float32]]:
    """For each view float32 (N, K), of all faces."""
    probabilities = {
        view: np.empty((len(faces), len(faces.expressions)), dtype=np.float32) for view in views
    }
    done = 0
    for batch in faces.batches(batch_size):
        for view, answer in look(predict, batch, views).items():
            if answer.shape != (len(batch), len(faces.expressions)):
                raise InputError(
                    f"{faces.store.source}: the predictor answered {quantity(len(batch), 'face')} of "
                    f"{len(faces.expressions)} expressions with an array of shape {answer.shape}; "
                    "give data with the label set of the run"
                )
            probabilities[view][done : done + len(batch)] = answer
        done += len(batch)
        if progress is not None:
            progress(done, len(faces))
    return probabilities


def find_copies(
    digests_N2: NDArray[np.uint64], train_digests_M2: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Tell for each 128-bit digest, uint64 (N, 2), whether it is among the training digests: bool (N,)."""
    known = set(map(tuple, train_digests_M2.tolist()))
    return np.array([tuple(digest) in known for digest in digests_N2.tolist()], dtype=np.bool_)


def other_data_told(split: str, source: str) -> str:
    """The note on scores of other data than the training's: another source, or the same with another content."""
    return (
        f"the {split} scores were made on other data ({source}) than the network was trained on, or these have changed "
        "since: copies of its training faces were looked for in those data only"
    )


@dataclass(frozen=True)
class Subject:
    """A network and the faces to score it on.

    Attributes:
        predict: uint8 (B, C, H, W) -> probabilities (B, K).
        faces: the faces, labelled in the order of K.
        trained: the network's training faces, if they are in the same store.
        split: the name of the split.
        weights: SHA-256 of the network's weights, or None.
        across: the mapping of classes, if the data are not the training's and have other classes.
        is_sure: (uint8 (B, C, H, W), probabilities (B, K)) -> bool (B,), answers that are not uncertain;
            None for a run, because export fits its threshold.
        foreign: whether the network is known to have been trained on other data.
    """

    predict: Predictor
    faces: FaceView
    trained: FaceView
    split: str
    weights: str | None
    across: Across | None = None
    is_sure: Callable[[NDArray[np.uint8], NDArray[np.floating[Any]]], NDArray[np.bool_]] | None = (
        None
    )
    foreign: bool = False

    @classmethod
    def of_run(
        cls,
        run: RunFolder,
        store: FaceStore,
        split: str | None,
        device: str = "auto",
        mapping: ClassMap | None = None,
    ) -> Subject:
        """Take a run's best weights, and a split of a store by the run's own split rule; see `choose`.

        Args:
            run: the run folder.
            store: the data.
            split: a name in SPLIT_NAMES, "all" for other data, or None for the default.
            device: see `pick_device`.
            mapping: the data's classes -> the network's expressions.

        Raises:
            InputError: the split or the data do not fit the run, or its weights cannot be loaded.
            MissingExtraError: torch is not installed.
        """
        chosen = choose_for_run(run, store, split, mapping)
        with extra_required("train", "evaluating a run"):
            from mien.models import load_classifier
        classifier = load_classifier(run, device)
        if tuple(map(canonical, classifier.expressions)) != chosen.faces.expressions:
            raise InputError(
                f"{run.path}: the weights know {', '.join(classifier.expressions)}, the recipe "
                f"{', '.join(chosen.faces.expressions)}; the run folder was mixed up, train again"
            )
        digest = run.weights_digest()
        return cls._chosen(classifier, chosen, digest)

    @classmethod
    def of_model(
        cls,
        card: ModelCard,
        predict: Predictor,
        store: FaceStore,
        split: str | None,
        where: str,
        mapping: ClassMap | None = None,
    ) -> Subject:
        """Take a model file, whose card names its training data, and a split of a store.

        Args:
            card: the model card.
            predict: the model.
            store, split, mapping: see `of_run`.
            where: the model's name, for messages.

        Raises:
            InputError: the split or the data do not fit the model, or its card has no split rule.
        """
        chosen = choose(
            split_rule_in(card.provenance.get("recipe"), where),
            card.expressions,
            store,
            split,
            where=where,
            trained_on=card.trained_on,
            mapping=mapping,
        )
        return cls._chosen(predict, chosen, card.digest)

    @classmethod
    def _chosen(cls, predict: Predictor, chosen: Chosen, weights: str | None) -> Subject:
        return cls(
            predict,
            chosen.faces,
            chosen.trained,
            chosen.split,
            weights,
            chosen.across,
            foreign=chosen.foreign,
        )

    def without(self, excluded: Exclusions | None) -> Subject:
        """The same subject without the faces on a list.

        Raises:
            InputError: the list belongs to other data.
        """
        return self if excluded is None else replace(self, faces=excluded.applied(self.faces))

    def evaluated(
        self,
        tta: str = "none",
        *,
        command: str | None = None,
        votes: Votes | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Score the subject in the single view and in the view `tta`, on all faces and without copies.

        Args:
            tta: a name in VIEWS.
            command: the command, for the record.
            votes: FER+'s votes on the faces; if given, also compare the single view with the annotators.
            progress: called after each batch with the faces done and their total.

        Raises:
            InputError: there are no faces, or votes are given that belong to other data.
        """
        if votes is not None and self.across is not None:
            raise InputError(
                f"{votes.source}: votes are of FER-2013's faces, not of {self.faces.store.source}; "
                "leave --votes out"
            )
        # Training faces are all copies of themselves, so for their split none is left out.
        trained = self.trained.store.faces(self.trained.indices[:0])
        trained = trained if self.split == "train" else self.trained
        evaluation = score(
            self.predict,
            self.faces,
            trained.digests,
            tuple(dict.fromkeys(("none", tta))),
            progress=progress,
            split=self.split,
            near=near_copies(self.faces, trained),
        )
        evaluation = replace(evaluation, command=command, weights=self.weights)
        if self.foreign:
            told = other_data_told(self.split, evaluation.source)
            evaluation = replace(evaluation, notes=(*evaluation.notes, told))
        if self.across is not None:
            return _restricted(evaluation, self.across)
        if votes is None:
            return evaluation
        people = beside_people(evaluation.probabilities["none"], self.faces, votes)
        return replace(evaluation, people=people, majority=majority_of(votes, self.faces))


def _restricted(evaluation: Evaluation, across: Across) -> Evaluation:
    """Restrict an evaluation to the expressions that the network and the data share."""
    shared = np.unique(evaluation.labels)
    own = {
        view: _own_answers(values, evaluation.labels, shared)
        for view, values in evaluation.probabilities.items()
    }
    over_shared = replace(
        evaluation,
        expressions=tuple(evaluation.expressions[place] for place in shared),
        split=name_of(evaluation.source),
        labels=np.searchsorted(shared, evaluation.labels),
        probabilities={
            view: _over(values, shared) for view, values in evaluation.probabilities.items()
        },
        across=replace(across, own_answers=own),
    )
    return over_shared.scored()


def _over(probabilities_NK: NDArray[np.float32], shared: NDArray[np.int64]) -> NDArray[np.float32]:
    """Restrict probabilities to the columns `shared` and scale rows to sum to 1; equal values if all are 0."""
    chosen = probabilities_NK[:, shared].astype(np.float64)
    sums = chosen.sum(axis=1, keepdims=True)
    equal = np.full(chosen.shape, 1 / len(shared))
    over: NDArray[np.float32] = np.divide(chosen, sums, out=equal, where=sums > 0).astype(
        np.float32
    )
    return over


def _own_answers(
    probabilities_NK: NDArray[np.float32], labels_N: NDArray[np.int64], shared: NDArray[np.int64]
) -> OwnAnswers:
    answers = probabilities_NK.argmax(axis=1)
    right = int((answers == labels_N).sum())
    return OwnAnswers(
        accuracy=right / len(labels_N),
        accuracy_interval=accuracy_interval(right, len(labels_N)),
        elsewhere=float((~np.isin(answers, shared)).mean()),
    )
