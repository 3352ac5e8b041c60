"""Labels that networks reject: confident learning by hand, and labels that were made wrong on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from make_photos import SAME, cut, photo, store_of
from mien.auditing.cross_validation import FOLDS, CrossValidation, folds, rejected_labels
from mien.data import load
from mien.errors import InputError


def silent(*_):
    pass


def test_confident_learning_as_worked_out_by_hand():
    probabilities = np.array(
        [
            [0.9, 0.1, 0.0],  # 0; thresholds: (0.9 + 0.7 + 0.2) / 3 = 0.6, 0.8, 0.47
            [0.7, 0.3, 0.0],  # 0
            [0.2, 0.8, 0.0],  # 0, confidently taken for 1
            [0.2, 0.8, 0.0],  # 1
            [0.3, 0.2, 0.5],  # 2
            [0.4, 0.1, 0.5],  # 2
            [0.5, 0.1, 0.4],  # 2, taken for nothing with confidence
        ]
    )
    labels = np.array([0, 0, 0, 1, 2, 2, 2])
    faces, taken = rejected_labels(probabilities, labels)
    assert (faces.tolist(), taken.tolist()) == ([2], [1])


def test_an_expression_without_faces_is_never_taken():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.2, 0.1, 0.7]])
    faces, _ = rejected_labels(probabilities, np.array([0, 1]))
    assert 2 not in faces


def test_copies_share_a_fold_and_folds_are_of_a_size():
    pictures = [photo(seed) for seed in range(40)]
    faces = [cut(one) for one in pictures] + [SAME["mirrored"](one) for one in pictures[:10]]
    store = store_of(faces)
    fold = folds(store, store.faces(np.arange(50)))
    assert (fold[:10] == fold[40:]).all()
    assert set(fold.tolist()) == set(range(FOLDS))
    assert np.bincount(fold[:40]).tolist() == [10] * FOLDS


@pytest.mark.slow
def test_labels_made_wrong_are_found(monkeypatch):
    monkeypatch.setattr(CrossValidation, "_epochs", lambda *_: 8)  # whatever else this machine does
    store = load("synthetic:1400")
    wrong = np.random.default_rng(0).choice(1400, 70, replace=False)
    train = np.flatnonzero(store.splits == 0)[wrong]
    labels = store.labels.copy()
    labels[train] = (labels[train] + np.random.default_rng(1).integers(1, 7, 70)) % 7
    store = replace(store, labels=labels, path=None)

    (found,) = CrossValidation(budget=1, device="cpu")(store, silent)

    rejected = found.faces[np.isin(found.faces, np.flatnonzero(store.splits == 0))]
    assert np.isin(train, rejected).mean() > 0.6
    assert np.isin(rejected[:100], train).sum() > 15  # by chance five: the worst come first
    assert set(found.faces[found.excludes].tolist()) == set(rejected.tolist())


@pytest.mark.slow
def test_networks_that_have_learnt_nothing_reject_nothing(monkeypatch):
    monkeypatch.setattr(CrossValidation, "_epochs", lambda *_: 1)
    store = load("synthetic:210")
    dealt = np.random.default_rng(0).permutation(store.labels)
    with pytest.raises(InputError, match=r"--budget 1: after 1 epoch .* give more minutes"):
        CrossValidation(1, "cpu")(replace(store, labels=dealt, path=None), silent)


def test_what_cannot_be_cross_validated_is_said():
    with pytest.raises(InputError, match="--budget 0: give minutes, above 0"):
        CrossValidation(0)(load("synthetic:70"), silent)
    with pytest.raises(InputError, match=r"70 training faces are too few .* 200 are needed"):
        CrossValidation(1)(load("synthetic:70"), silent)
