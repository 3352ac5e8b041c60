"""The one shape of a store: decided by the faces that train and select, never by those that test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data import FaceStore, SplitRule, load, split

pytestmark = pytest.mark.usefixtures("cache")


def write(root: Path, name: str, size: tuple[int, int], seed: int, mode: str = "L") -> None:
    generator = np.random.default_rng(seed)
    shape = size if mode == "L" else (*size, 3)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(path)


def training_faces(root: Path) -> Path:
    """Sixty gray faces of 20x16 in two classes, to be split into training and validation."""
    for number in range(60):
        write(root, f"train/{('happy', 'sad')[number % 2]}/{number}.png", (20, 16), number)
    return root


def chosen(store: FaceStore) -> list[tuple[str, bytes]]:
    splits = split(store, SplitRule())
    return [
        (row, pixels.tobytes())
        for part in (splits.train, splits.validation)
        for row, pixels in zip(part.rows.tolist(), part.pixels(), strict=True)
    ]


@pytest.mark.parametrize(
    "odd",
    [
        [((20, 16), "RGB")],
        [((40, 40), "L")],
        [((40, 40), "RGB"), ((20, 16), "L"), ((9, 30), "L")],
    ],
    ids=["colour", "another size", "all kinds"],
)
@pytest.mark.parametrize("folder", ["test", "a/test"], ids=["after", "before"])
def test_odd_test_images_change_nothing_for_training(
    odd: list[tuple[tuple[int, int], str]], folder: str, root: Path
) -> None:
    plain = load(training_faces(root / "plain"))
    with_odd = training_faces(root / "odd")
    if folder != "test":  # so that its files are listed before those of training
        (with_odd / "train").rename(with_odd / "z")
        (with_odd / "b").mkdir()
        (with_odd / "z").rename(with_odd / "b" / "train")
        (root / "plain" / "b").mkdir()
        (root / "plain" / "train").rename(root / "plain" / "b" / "train")
        plain = load(root / "plain")
    for number, (size, mode) in enumerate(odd):
        write(with_odd, f"{folder}/happy/{number}.png", size, 1000 + number, mode)

    store = load(with_odd)

    assert store.pixels.shape == (60 + len(odd), 1, 20, 20)
    assert chosen(store) == chosen(plain)


def test_where_all_are_test_images_the_shape_is_theirs(root: Path) -> None:
    write(root, "test/happy/1.png", (20, 16), 1)
    write(root, "test/happy/2.png", (30, 30), 2, "RGB")

    assert load(root, size=(24, 24)).pixels.shape == (2, 3, 24, 24)


def test_mixed_sizes_and_colour_of_training_decide(root: Path) -> None:
    write(root, "test/happy/0.png", (20, 16), 0)
    write(root, "train/happy/1.png", (20, 16), 1)
    write(root, "train/happy/2.png", (30, 30), 2, "RGB")

    assert load(root, size=(24, 24)).pixels.shape == (3, 3, 24, 24)
