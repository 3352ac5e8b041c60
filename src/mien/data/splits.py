"""Divide a store into faces for training, validation and test. Test faces never influence the division."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.store import TEST, TRAIN, VALIDATION, FaceStore, FaceView
from mien.errors import InputError
from mien.recipe import CARVED_SHARE, SplitRule


@dataclass(frozen=True)
class Splits:
    """The faces for each purpose.

    Attributes:
        train: faces to train with.
        validation: faces that select checkpoints and settings.
        test: the source's test faces.
        official_validation: the source's own validation faces, even if the rule selects others.
    """

    train: FaceView
    validation: FaceView
    test: FaceView
    official_validation: FaceView


def split(store: FaceStore, rule: SplitRule = SplitRule()) -> Splits:
    """Divide a store by a rule.

    By default the source's own splits are used; if it has no validation faces, a share of
    `CARVED_SHARE` of its training faces is taken. Splits may be empty: see `needed`.

    >>> from mien.data import load
    >>> parts = split(load("synthetic:10"))
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (10, 2, 2)
    """
    train = np.flatnonzero(store.splits == TRAIN)
    validation = official = np.flatnonzero(store.splits == VALIDATION)
    share = rule.holdout if rule.holdout is not None else (0.0 if len(official) else CARVED_SHARE)
    if share:
        held = stratified(store.labels[train], store.digests[train], share, rule.seed)
        train, validation = train[~held], train[held]
    return Splits(
        train=store.faces(train),
        validation=store.faces(validation),
        test=store.faces(np.flatnonzero(store.splits == TEST)),
        official_validation=store.faces(official),
    )


def stratified(
    labels: NDArray[np.int64], digests: NDArray[np.uint64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Draw a share of the faces of each label at random: bool (N,), True for the drawn.

    Labels with two or more faces give at least one. The draw depends on the faces' digests, not on
    their positions, so the same faces in another order or layout are divided in the same way.

    Args:
        labels: int64 (N,).
        digests: uint64 (N, 2), see `FaceStore.digests`.
        share: 0..1.
        seed: seed of the draw.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), dtype=np.bool_)
    # An order that the source does not decide.
    by_digest = np.lexsort((digests[:, 1], digests[:, 0]))
    for label in np.unique(labels):
        members = by_digest[labels[by_digest] == label]
        count = max(round(share * len(members)), 1 if len(members) > 1 else 0)
        drawn[generator.permutation(members)[:count]] = True
    return drawn


def needed(faces: FaceView, split_name: str) -> FaceView:
    """Return the faces unchanged, if there are any.

    Raises:
        InputError: the split is empty; `split_name` is its name for the message.
    """
    if not len(faces):
        raise InputError(
            f"{faces.store.source}: there is no {split_name} face in it; "
            "give data that has this split"
        )
    return faces
