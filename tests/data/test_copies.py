"""Copies: exact ones are counted, near ones are found, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from make_photos import SAME, cut, photo, store_of
from mien.data import load, near
from mien.data.copies import Copies, count_copies, grouped, has_copy
from mien.data.near import near_copies, near_pairs


@pytest.mark.parametrize("change", SAME)
def test_the_same_photograph_is_found_whatever_the_web_did_to_it(change: str) -> None:
    pictures = [photo(seed) for seed in range(12)]
    store = store_of([cut(one) for one in pictures] + [SAME[change](one) for one in pictures])

    assert near_pairs(store).tolist() == [[n, n + 12] for n in range(12)]


def test_different_photographs_are_no_copies_and_flat_ones_break_nothing() -> None:
    blank = [np.full((48, 48), level, np.uint8) for level in (0, 9, 255)]
    assert not len(near_pairs(store_of(blank + [cut(photo(seed)) for seed in range(200)])))


def test_size_and_colour_do_not_matter() -> None:
    one, other = cut(photo(1), side=64), cut(photo(1), right=1, side=64)
    colour = [np.stack([face, face, face]) for face in (one, cut(photo(2), side=64), other)]
    assert near_pairs(store_of(colour)).tolist() == [[0, 2]]


def test_pairs_between_two_sides_are_those_of_the_whole_that_span_them() -> None:
    pictures = [photo(seed) for seed in range(30)]
    faces = [cut(one) for one in pictures] + [SAME["mirrored"](one) for one in pictures[:20]]
    store = store_of(faces, splits=[(n + n // 30) % 3 for n in range(50)])
    train, test = (np.flatnonzero(store.splits == split) for split in (0, 2))

    across = near_pairs(store, test, train)

    spanning = [
        p for p in near_pairs(store).tolist() if {store.splits[p[0]], store.splits[p[1]]} == {0, 2}
    ]
    assert across.tolist() == spanning
    assert len(spanning) > 5
    copied = near_copies(store.faces(test), store.faces(train))
    assert np.isin(test, across).tolist() == copied.tolist()


def test_exact_copies_of_a_near_copy_are_near_copies_too() -> None:
    face, other = cut(photo(0)), SAME["brighter"](photo(0))
    store = store_of([face, face, other, cut(photo(1))], [0, 0, 3, 0], [0, 2, 2, 2])
    pairs = near_pairs(store)
    assert pairs.tolist() == [[0, 2]]
    assert grouped(store, pairs).tolist() == [grouped(store, pairs)[0]] * 3 + [
        grouped(store, pairs)[3]
    ]
    faces, train = np.arange(1, 4), np.array([0])
    assert has_copy(store, faces, train).tolist() == [True, False, False]
    assert has_copy(store, faces, train, pairs).tolist() == [True, True, False]
    assert count_copies(store) == Copies(1, 2, 1, 0, {"validation": 0, "test": 1})
    assert count_copies(store, pairs) == Copies(1, 3, 1, 1, {"validation": 0, "test": 2})


def test_groups_join_whatever_pairs_tie_together() -> None:
    store = store_of([cut(photo(seed)) for seed in range(8)])
    group = grouped(store, np.array([[5, 6], [1, 2], [2, 5], [0, 7]]))
    same = {frozenset(np.flatnonzero(group == name).tolist()) for name in group.tolist()}
    assert same == {frozenset(s) for s in ({1, 2, 5, 6}, {0, 7}, {3}, {4})}


def test_what_was_found_is_kept_beside_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = [cut(photo(0)), SAME["shifted"](photo(0)), cut(photo(1))]
    first = near_pairs(store_of(faces, path=tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(near, "_search", lambda *_: pytest.fail("looked again"))
        assert near_pairs(store_of(faces, path=tmp_path)).tolist() == first.tolist()
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-3])  # cut short: looked for anew
    assert near_pairs(store_of(faces, path=tmp_path)).tolist() == [[0, 1]]


def test_drawn_faces_are_alike_and_no_copies() -> None:
    store = load("synthetic:70")
    assert not len(near_pairs(store))
    assert not near_copies(*[store.faces(np.flatnonzero(store.splits == s)) for s in (2, 0)]).any()
