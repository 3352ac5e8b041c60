"""Join the detections of several searches of one picture, at other sizes or turned."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Two boxes are one face if their intersection over union, or over the smaller box, is above these.
_SHARED, _WITHIN = 0.3, 0.75
#: The weight of a box in its face falls linearly to 0 where its score is this much below the highest.
_NEARLY = 0.1

#: float64 (N, 15): box, five landmarks, score; pixels of the picture.
Rows: TypeAlias = NDArray[np.float64]


def separate(rows: Rows) -> NDArray[np.intp]:
    """The positions of the rows with the highest score of each face, int64 (n,), highest score first."""
    return np.array([group[0] for group in _grouped(rows)], np.intp)


def joined(rows: Rows) -> Rows:
    """Join the rows of several searches: one row for each face, highest score first.

    Box and landmarks are means weighted by score. Boxes of one face with nearly equal scores can be a fifth
    of a side apart; with the highest score alone, a tiny change of the picture would select another box.
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
    """Group boxes by face: the positions of the rows of each face; faces and rows are ordered by falling score."""
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
    """Intersect a row's box with those of `rows`: the areas over the union and over the smaller box, float64 (N,)."""
    ends, areas, area = rows[:, :2] + rows[:, 2:4], rows[:, 2] * rows[:, 3], row[2] * row[3]
    common = np.minimum(row[:2] + row[2:4], ends) - np.maximum(row[:2], rows[:, :2])
    common = common.clip(0).prod(axis=1)
    smaller = np.minimum(area, areas)
    return common / np.maximum(area + areas - common, 1e-9), common / np.maximum(smaller, 1e-9)


def turned_back(rows: Rows, quarters: int, size: tuple[int, int]) -> Rows:
    """Convert rows of a picture that was turned to the left to rows of the picture itself.

    Args:
        rows: in pixels of the turned picture.
        quarters: the number of quarter turns.
        size: (width, height) of the picture itself in pixels.
    """
    for left in range(quarters, 0, -1):
        width = size[0] if left % 2 else size[1]  # before this quarter
        x, y, wide, high = rows[:, :4].T
        rows = rows.copy()
        rows[:, :4] = np.stack([width - y - high, x, high, wide], axis=1)
        rows[:, 4:14:2], rows[:, 5:14:2] = width - rows[:, 5:14:2], rows[:, 4:14:2].copy()
    return rows
