"""Copies of faces: group them, count them, and find faces that have a copy among others.

Exact copies have the same digest. Near copies are the pairs that `near_pairs` finds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.store import SPLITS, TRAIN, FaceStore

Pairs = NDArray[np.int64]
"""int64 (P, 2): positions of two faces in their store, the smaller first."""

#: Share of repeated faces that is reported. FER-2013 has 5 %; a tree that holds half of itself again has 33 %.
_MANY_REPEATS = 0.2

NO_PAIRS: Pairs = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Copies:
    """Counts of faces that are copies of each other. A group is two or more copies of one face.

    Attributes:
        groups: number of groups.
        images: faces in all groups.
        groups_across_splits: groups with faces of more than one split.
        groups_with_different_labels: groups with more than one label.
        with_copy_in_train: split -> its faces that have a copy in train, for validation and test.
    """

    groups: int
    images: int
    groups_across_splits: int
    groups_with_different_labels: int
    with_copy_in_train: dict[str, int]


def repeats_told(digests: NDArray[np.uint64]) -> str | None:
    """A warning if at least a fifth of the faces repeat others exactly; None if fewer do.

    Args:
        digests: uint64 (N, 2), the digests of the faces.
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
    """Number the faces of a store: int64 (N,), from 0; exact copies, and only they, share a number."""
    _, identity = np.unique(store.digests, axis=0, return_inverse=True)
    return identity.reshape(-1)


def grouped(store: FaceStore, pairs: Pairs = NO_PAIRS) -> NDArray[np.int64]:
    """Number the groups of copies: int64 (N,), from 0; exact copies and faces linked by `pairs` share a number.

    Links are followed: if A and B are a pair, and B and C, all three are one group.
    """
    group = identities(store)
    while len(pairs):  # both faces of a pair get the smaller number, until nothing changes
        low, high = np.sort(group[pairs], axis=1).T
        if (low == high).all():
            break
        winner = np.arange(group.max() + 1)
        np.minimum.at(winner, high, low)
        group = winner[group]
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def count_copies(store: FaceStore, pairs: Pairs = NO_PAIRS) -> Copies:
    """Count the exact copies in a store, and with `pairs` the near ones too. Pixels are not read."""
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
    """Tell for each face whether it has a copy among others: bool (n,).

    A copy is exact, or a near copy by one of `pairs`. Links are not followed: a copy of a copy counts
    only if it forms a pair with the face itself.

    Args:
        store: the store of all faces.
        faces: int64 (n,), positions of the faces in question.
        among: int64 (m,), positions of the others.
        pairs: int64 (P, 2), near copies.
    """
    identity = identities(store)
    there = np.zeros(identity.max(initial=-1) + 1, np.bool_)
    there[identity[among]] = True
    found = there.copy()
    for one, other in ((0, 1), (1, 0)):
        np.logical_or.at(found, identity[pairs[:, one]], there[identity[pairs[:, other]]])
    return found[identity[faces]]


def _distinct(group: NDArray[np.int64], codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the different codes in each group: int64 (groups,)."""
    return np.bincount(np.unique(np.column_stack((group, codes)), axis=0)[:, 0])
