"""The synthetic faces: reproducible, balanced, and a task that rewards looking at shapes."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.data.synthetic import synthetic_faces
from mien.expressions import SEVEN


def stacked(count: int, seed: int, size: int = 48) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    labels, faces = zip(*synthetic_faces(count, seed, size), strict=True)
    return np.array(labels), np.stack(faces)


def test_same_seed_gives_the_same_faces() -> None:
    (labels, faces), (labels_again, faces_again) = stacked(20, seed=3), stacked(20, seed=3)
    np.testing.assert_array_equal(labels, labels_again)
    np.testing.assert_array_equal(faces, faces_again)


def test_a_face_does_not_depend_on_count() -> None:
    few, many = synthetic_faces(10, seed=3), islice(synthetic_faces(1000, seed=3), 10)
    for (label, face), (label_of_many, face_of_many) in zip(few, many, strict=True):
        assert label == label_of_many
        np.testing.assert_array_equal(face, face_of_many)


def test_seeds_differ() -> None:
    _, faces = stacked(14, seed=0)
    _, others = stacked(14, seed=1)
    assert not any(np.array_equal(face, other) for face in faces for other in others)
