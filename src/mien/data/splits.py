"""Which faces train, select and test. Never decided by looking at test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.store import TEST, TRAIN, VALIDATION, FaceStore, FaceView
from mien.errors import InputError
from mien.recipe import CARVED_SHARE, SplitRule


@dataclass(frozen=True)
class Splits:
    """The faces of each purpose. `official_validation` are the source's own, whatever the rule."""

    train: FaceView
    validation: FaceView
    test: FaceView
    official_validation: FaceView


def split(store: FaceStore, rule: SplitRule = SplitRule()) -> Splits:
    """Apply a rule, by default the official one, to a store. Splits may come out empty; who needs one says so."""
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
    """Draw a share of each label, at least one of two or more: bool (N,), True for the drawn.

    The draw goes by the faces' digests, uint64 (N, 2), not by their positions: the same faces in
    another order or layout, which have the same fingerprint, are told apart in the same way.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), dtype=np.bool_)
    by_digest = np.lexsort((digests[:, 1], digests[:, 0]))
    for label in np.unique(labels):
        members = by_digest[labels[by_digest] == label]
        count = max(round(share * len(members)), 1 if len(members) > 1 else 0)
        drawn[generator.permutation(members)[:count]] = True
    return drawn


def needed(faces: FaceView, split_name: str) -> FaceView:
    """The faces themselves; InputError where a split that is needed came out empty."""
    if not len(faces):
        raise InputError(
            f"{faces.store.source}: there is no {split_name} face in it; "
            "give data that has this split"
        )
    return faces
