"""What is said of a store: counts, copies, and its picture."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from make_layouts import LAYOUTS, NAMES, MadeUp, made_up
from PIL import Image

from mien.data import load
from mien.data.copies import Copies
from mien.data.inspect import contact_sheet, inspect

pytestmark = pytest.mark.usefixtures("cache")


def test_counts_are_those_of_the_faces(root: Path) -> None:
    faces = made_up(30)

    store = load(LAYOUTS["csv"](root, faces))
    said = inspect(store)

    assert (said.images, said.channels, said.height, said.width) == (30, 1, 8, 8)
    assert said.fingerprint == store.fingerprint
    assert said.cache == str(store.path)
    assert list(said.counts) == ["train", "validation", "test"]
    for split, name in enumerate(said.counts):
        for label, expression in enumerate(NAMES):
            counted = sum((face.label, face.split) == (label, split) for face in faces)
            assert said.counts[name][expression] == counted
    json.dumps(dataclasses.asdict(said))


def test_copies_are_counted_by_group_split_and_label(root: Path) -> None:
    a, b, c, d, e = (face.pixels for face in made_up(5))
    faces = [
        MadeUp(0, 0, a),  # a: twice in train, twice in test, one label
        MadeUp(0, 0, a),
        MadeUp(0, 2, a),
        MadeUp(0, 2, a),
        MadeUp(1, 0, b),  # b: train and validation, two labels
        MadeUp(2, 1, b),
        MadeUp(3, 1, c),  # c: validation and test, not in train
        MadeUp(3, 2, c),
        MadeUp(4, 0, d),  # d: twice in train, two labels
        MadeUp(5, 0, d),
        MadeUp(6, 0, e),  # e: once
    ]

    assert inspect(load(LAYOUTS["csv"](root, faces))).copies == Copies(
        groups=4,
        images=10,
        groups_across_splits=3,
        groups_with_different_labels=2,
        with_copy_in_train={"validation": 1, "test": 2},
    )


@pytest.mark.parametrize(("height", "width"), [(8, 8), (30, 20)])
def test_the_picture_shows_faces_of_every_expression(
    height: int, width: int, root: Path, tmp_path: Path
) -> None:
    store = load(
        LAYOUTS["csv" if height == width else "class folders"](
            root, made_up(25, height=height, width=width)
        )
    )
    path = tmp_path / "out" / "sheet.png"

    contact_sheet(store, path, columns=3)

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.std() > 10
    once = path.read_bytes()
    contact_sheet(store, path, columns=3)
    assert path.read_bytes() == once


def test_the_picture_takes_the_kind_its_name_says(root: Path, tmp_path: Path) -> None:
    contact_sheet(load(LAYOUTS["csv"](root, made_up(3))), tmp_path / "sheet.jpg")

    with Image.open(tmp_path / "sheet.jpg") as image:
        assert image.format == "JPEG"
