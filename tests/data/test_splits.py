"""Which faces train, select and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_layouts import LAYOUTS, MadeUp, made_up

from mien.data import FaceView, SplitRule, Splits, load, split
from mien.data.splits import CARVED_SHARE, stratified

pytestmark = pytest.mark.usefixtures("cache")
FACES = made_up(420)


def splits_of(root: Path, faces: list[MadeUp], rule: SplitRule) -> Splits:
    return split(load(LAYOUTS["csv"](root, faces)), rule)


def rows(faces: FaceView) -> set[str]:
    return set(faces.rows.tolist())


def test_the_official_split_is_the_sources_own(root: Path) -> None:
    splits = splits_of(root, FACES, SplitRule())

    for number, faces in enumerate((splits.train, splits.validation, splits.test)):
        assert rows(faces) == {str(n) for n, face in enumerate(FACES) if face.split == number}
    assert rows(splits.official_validation) == rows(splits.validation)


def test_a_holdout_is_a_stratified_share_of_training(root: Path) -> None:
    splits = splits_of(root, FACES, SplitRule(holdout=0.2))

    training = {str(n) for n, face in enumerate(FACES) if face.split == 0}
    assert rows(splits.train) | rows(splits.validation) == training
    assert not rows(splits.train) & rows(splits.validation)
    assert np.bincount(splits.validation.labels).tolist() == [4] * 7
    assert len(splits.official_validation) == 140
    assert len(splits.test) == 140


def test_without_validation_some_of_training_is_carved_and_never_of_test(root: Path) -> None:
    faces = [face for face in FACES if face.split != 1]

    splits = splits_of(root, faces, SplitRule())

    test = {str(n) for n, face in enumerate(faces) if face.split == 2}
    assert len(splits.validation) == round(CARVED_SHARE * 20) * 7
    assert rows(splits.test) == test
    assert not test & (rows(splits.train) | rows(splits.validation))
    assert not len(splits.official_validation)


@pytest.mark.parametrize("holdout", [None, 0.25])
def test_test_rows_change_nothing_for_training(holdout: float | None, root: Path) -> None:
    """The same faces train and select, in the same order, with or without test rows."""
    rule = SplitRule(holdout=holdout, seed=3)
    for folder in ("with", "without"):
        (root / folder).mkdir()
    with_test = splits_of(root / "with", FACES, rule)
    without = splits_of(root / "without", [face for face in FACES if face.split != 2], rule)

    for name in ("train", "validation"):
        one, other = getattr(with_test, name), getattr(without, name)
        assert (one.pixels() == other.pixels()).all()
        assert (one.labels == other.labels).all()


def test_the_draw_is_given_by_the_seed() -> None:
    labels = np.repeat(np.arange(7), 30)
    digests = np.random.default_rng(0).integers(0, 2**63, (210, 2), np.uint64)

    first, again, other = (stratified(labels, digests, 0.3, seed) for seed in (5, 5, 6))

    assert (first == again).all()
    assert (first != other).any()
    assert np.bincount(labels[first]).tolist() == [9] * 7


@pytest.mark.parametrize("layout", ["class folders", "parquet shards"])
def test_another_layout_or_order_holds_the_same_faces_out(layout: str, root: Path) -> None:
    rule = SplitRule(holdout=0.2)
    for folder in ("one", "other"):
        (root / folder).mkdir()

    one = splits_of(root / "one", FACES, rule)
    other = split(load(LAYOUTS[layout](root / "other", FACES)), rule)

    for name in ("train", "validation", "test"):
        pixels = [{face.tobytes() for face in getattr(s, name).pixels()} for s in (one, other)]
        assert pixels[0] == pixels[1]


def test_faces_come_in_batches_in_order(root: Path) -> None:
    faces = splits_of(root, FACES, SplitRule()).test

    batches = list(faces.batches(64))

    assert [len(batch) for batch in batches] == [64, 64, 12]
    assert (np.concatenate(batches) == faces.pixels()).all()
    assert faces.pixels().shape == (140, 1, 8, 8)


def test_evenly_chosen_faces_are_spread_over_all_there_are() -> None:
    faces = load("synthetic:35").faces(np.arange(20, 29))
    assert faces.evenly(3).indices.tolist() == [20, 24, 28]
    assert faces.evenly(100).indices.tolist() == faces.indices.tolist()
    assert len(faces.store.faces(faces.indices[:0]).evenly(3)) == 0
