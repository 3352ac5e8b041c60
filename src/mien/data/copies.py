"""Copies of a face: who is a copy of whom, how many there are, and who has one among others.

Exact copies have the same digest. Near copies are pairs that `near_pairs` finds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.store import SPLITS, TRAIN, FaceStore

Pairs = NDArray[np.int64]
"""int64 (P, 2): positions of two faces in their store, the smaller first."""

#: Of so many repeats people are told: FER-2013 has 5 %, a tree that holds half of itself again 33 %.
_MANY_REPEATS = 0.2

NO_PAIRS: Pairs = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Copies:
    """Faces that are copies of each other. A group is two or more of them."""

    groups: int
    images: int
    groups_across_splits: int
    groups_with_different_labels: int
    #: Split -> its images that have a copy in train, for validation and test.
    with_copy_in_train: dict[str, int]


def repeats_told(digests: NDArray[np.uint64]) -> str | None:
    """A sentence where many faces are exact copies of others among them; None where few are.

    Args:
        digests: uint64 (N, 2), of the faces.
    """
    count = len(digests)
    repeats = count - len(np.unique(digests, axis=0))
    if repeats < _MANY_REPEATS * count:
        return None
    return (
        f"{repeats:,} of {count:,} faces are exact copies of others among them: they count more than "
        "once, and intervals come out too narrow; was a folder packed twice?"
    )


def identities(store: FaceStore) -> NDArray[np.int64]:
    """int64 (N,): a number for each face, 0 and up; exact copies, and only they, share one."""
    _, identity = np.unique(store.digests, axis=0, return_inverse=True)
    return identity.reshape(-1)


def grouped(store: FaceStore, pairs: Pairs = NO_PAIRS) -> NDArray[np.int64]:
    """int64 (N,): a number for each face, 0 and up; exact copies and what pairs tie together share one."""
    group = identities(store)
    while len(pairs):  # the smaller number of a pair wins, until there is none left
        low, high = np.sort(group[pairs], axis=1).T
        if (low == high).all():
            break
        winner = np.arange(group.max() + 1)
        np.minimum.at(winner, high, low)
        group = winner[group]
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def count_copies(store: FaceStore, pairs: Pairs = NO_PAIRS) -> Copies:
    """Count the exact copies of a store; with pairs, its exact and near ones. Pixels are not read."""
    group = grouped(store, pairs)
    sizes = np.bincount(group)
    several = sizes > 1
    train = np.flatnonzero(store.splits == TRAIN)
    return Copies(
        groups=int(several.sum()),
        images=int(sizes[several].sum()),
        groups_across_splits=int((_distinct(group, store.splits) > 1).sum()),
        groups_with_different_labels=int((_distinct(group, store.labels) > 1).sum()),
        with_copy_in_train={
            name: int(has_copy(store, np.flatnonzero(store.splits == split), train, pairs).sum())
            for split, name in enumerate(SPLITS)
            if split != TRAIN
        },
    )


def has_copy(
    store: FaceStore, faces: NDArray[np.int64], among: NDArray[np.int64], pairs: Pairs = NO_PAIRS
) -> NDArray[np.bool_]:
    """bool (n,): whether each of some faces has a copy among others, exact or by one of the pairs.

    A copy's copy counts only where it is paired itself.
    """
    identity = identities(store)
    there = np.zeros(identity.max(initial=-1) + 1, np.bool_)
    there[identity[among]] = True
    found = there.copy()
    for one, other in ((0, 1), (1, 0)):
        np.logical_or.at(found, identity[pairs[:, one]], there[identity[pairs[:, other]]])
    return found[identity[faces]]


def _distinct(group: NDArray[np.int64], codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many different codes each group has: int64 (groups,)."""
    return np.bincount(np.unique(np.column_stack((group, codes)), axis=0)[:, 0])
