"""The real FER-2013 in the layouts that people download. `MIEN_DATA` names its parquet folder.

Beside that folder's parent lies `kaggle_layouts.py`, which writes them and shares no code with us.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.data import FaceStore, load
from mien.data.copies import Copies, count_copies
from mien.data.inspect import inspect
from mien.data.near import near_pairs

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("MIEN_DATA" not in os.environ, reason="MIEN_DATA is not set"),
]
DATA = Path(os.environ.get("MIEN_DATA", "."))
needs_script = pytest.mark.skipif(
    not (DATA.parent / "kaggle_layouts.py").is_file(), reason="no kaggle_layouts.py beside the data"
)
LAYOUTS = {
    "csv": "fer2013.csv",
    "icml": "icml_face_data.csv",
    "tar": "fer2013.tar.gz",
    "folder": "fer2013",
    "zip": "archive.zip",
    "images": "images",
}
LOSSLESS = {"csv", "icml", "tar"}
#: Training, PublicTest, PrivateTest by label, as the challenge published them.
COUNTS = [
    [3995, 436, 4097, 7215, 4830, 3171, 4965],
    [467, 56, 496, 895, 653, 415, 607],
    [491, 55, 528, 879, 594, 416, 626],
]


def written(layout: str, folder: Path, limit: int = 0) -> Path:
    path = folder / LAYOUTS[layout]
    script = DATA.parent / "kaggle_layouts.py"
    subprocess.run(
        [sys.executable, str(script), layout, str(path), "--limit", str(limit)], check=True
    )
    return path


def as_written(whole: FaceStore, limit: int | None) -> np.ndarray:
    """Where in our store of the parquet files the faces lie that a layout holds, in its order."""
    return np.concatenate([np.flatnonzero(whole.splits == split)[:limit] for split in range(3)])


def by_file_name(layout: str, store: FaceStore, whole: FaceStore, chosen: np.ndarray) -> np.ndarray:
    """Where in our store of the parquet files each image of a class folder comes from."""
    rows = whole.rows[chosen].astype(np.int64)
    if layout != "images":
        rows = 10_000_000 + rows * 7919 % 89_999_999  # how kaggle_layouts names them
    origin = dict(zip(rows.tolist(), chosen.tolist(), strict=True))
    return np.array([origin[int(Path(name).stem.split("_")[-1])] for name in store.rows.tolist()])


@needs_script
@pytest.mark.parametrize(
    "limit", [200, pytest.param(0, marks=pytest.mark.slow)], ids=["200 of each split", "whole"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_faces(layout: str, limit: int, tmp_path: Path) -> None:
    whole = load(DATA)
    chosen = as_written(whole, limit or None)

    store = load(written(layout, tmp_path, limit))

    assert len(store) == len(chosen)
    if layout in LOSSLESS:
        assert (store.pixels == whole.pixels[chosen]).all()
        if not limit:
            assert store.fingerprint == whole.fingerprint
    else:
        chosen = by_file_name(layout, store, whole, chosen)
        assert len(np.unique(chosen)) == len(store)
        change = store.pixels[:].astype(np.int16) - whole.pixels[chosen]
        assert np.abs(change).mean() < 2
    assert (store.labels == whole.labels[chosen]).all()
    if layout == "images":  # which deals train and validation anew
        assert set(np.unique(store.splits)) == {0, 1}
    else:
        assert (store.splits == whole.splits[chosen]).all()


#: What docs/data-audit.md says of near copies.
NEAR = {"groups": 3204, "images": 8563, "with_copy_in_train": {"validation": 769, "test": 779}}


def test_counts_and_copies_are_those_that_are_known() -> None:
    said = inspect(load(DATA))

    assert [list(counts.values()) for counts in said.counts.values()] == COUNTS
    assert (said.images, said.channels, said.height, said.width) == (35_887, 1, 48, 48)
    assert said.copies == Copies(
        groups=1518,
        images=3373,
        groups_across_splits=557,
        groups_with_different_labels=60,
        with_copy_in_train={"validation": 280, "test": 288},
    )


@pytest.mark.slow
def test_near_copies_are_as_many_as_the_documents_say() -> None:
    store = load(DATA)
    said = count_copies(store, near_pairs(store))

    assert said.with_copy_in_train == pytest.approx(NEAR["with_copy_in_train"], rel=0.02)
    assert said.groups == pytest.approx(NEAR["groups"], rel=0.02)
    assert said.images == pytest.approx(NEAR["images"], rel=0.02)
