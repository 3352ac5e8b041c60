"""What several looks at one picture have found, as the faces of the picture."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Two boxes are one face if they share so much of both together, or of the smaller.
_SHARED, _WITHIN = 0.3, 0.75
#: A box of this much less score than the surest says nothing of where a face is; between, its share falls to none.
_NEARLY = 0.1

#: float64 (N, 15): box, five landmarks, score; pixels of the picture.
Rows: TypeAlias = NDArray[np.float64]


def separate(rows: Rows) -> NDArray[np.intp]:
    """Of boxes that are one face the surest: their places, the surest first."""
    return np.array([group[0] for group in _grouped(rows)], np.intp)


def joined(rows: Rows) -> Rows:
    """The faces of several looks, the surest first.

    Of a face that two looks are nearly as sure of, the box is between theirs: these may be a fifth of
    a side apart, and by the surest alone a trifle would choose.
    """
    faces = []
    for group in _grouped(rows):
        alike, first = rows[group], rows[group[0]]
        shared, _ = _overlaps(first, alike)
        weights = (1 - (first[14] - alike[:, 14]) / _NEARLY).clip(0) * (shared > _SHARED)
        weights[0] = 1
        faces.append([*(weights @ alike[:, :14] / weights.sum()), first[14]])
    return np.array(faces, np.float64).reshape(-1, 15)


def _grouped(rows: Rows) -> list[NDArray[np.intp]]:
    """The places of boxes that are one face, face by face; of a face, and of all, the surest first."""
    order = np.argsort(-rows[:, 14], kind="stable")
    groups = []
    while len(order):
        shared, within = _overlaps(rows[order[0]], rows[order])
        one = (shared > _SHARED) | (within > _WITHIN)
        one[0] = True  # a box without an area shares none
        groups.append(order[one])
        order = order[~one]
    return groups


def _overlaps(
    row: NDArray[np.float64], rows: Rows
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much of both boxes together, and of the smaller, a row's box shares with each of some rows."""
    ends, areas, area = rows[:, :2] + rows[:, 2:4], rows[:, 2] * rows[:, 3], row[2] * row[3]
    common = np.minimum(row[:2] + row[2:4], ends) - np.maximum(row[:2], rows[:, :2])
    common = common.clip(0).prod(axis=1)
    smaller = np.minimum(area, areas)
    return common / np.maximum(area + areas - common, 1e-9), common / np.maximum(smaller, 1e-9)


def turned_back(rows: Rows, quarters: int, size: tuple[int, int]) -> Rows:
    """Rows of a picture that was turned by some quarters to the left, as those of the picture itself."""
    for left in range(quarters, 0, -1):
        width = size[0] if left % 2 else size[1]  # before this quarter
        x, y, wide, high = rows[:, :4].T
        rows = rows.copy()
        rows[:, :4] = np.stack([width - y - high, x, high, wide], axis=1)
        rows[:, 4:14:2], rows[:, 5:14:2] = width - rows[:, 5:14:2], rows[:, 4:14:2].copy()
    return rows
