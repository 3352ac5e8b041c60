"""A small store of drawn faces in memory, and recipes that train on it in seconds."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.data.splits import split
from mien.data.store import FaceStore
from mien.data.synthetic import synthetic_faces
from mien.expressions import SEVEN
from mien.recipe import SplitRule
from mien.training import ModelSpec, Recipe

RELIABILITY = Path(__file__).parents[2] / "benchmarks" / "reliability.py"


def store_of(pixels, labels, splits, expressions=SEVEN):
    digests = [np.frombuffer(hashlib.md5(p.tobytes()).digest(), np.uint64) for p in pixels]  # noqa: S324
    return FaceStore(
        pixels=pixels,
        labels=np.asarray(labels, dtype=np.int64),
        splits=np.asarray(splits, dtype=np.uint8),
        rows=np.arange(len(labels)).astype(str),
        digests=np.stack(digests),
        expressions=expressions,
        fingerprint=hashlib.sha256(pixels.tobytes()).hexdigest(),
        source="drawn",
    )


@pytest.fixture(scope="session")
def store():
    """280 drawn faces: 200 to train, 40 to select, 40 to test."""
    labels, faces = zip(*synthetic_faces(280, seed=5), strict=True)
    return store_of(np.stack(faces)[:, None], labels, np.repeat([0, 1, 2], [200, 40, 40]))


@pytest.fixture(scope="session")
def splits(store):
    return split(store, SplitRule())


@pytest.fixture
def recipe():
    """Two epochs of seven steps of a small network, in float32, the same on every machine."""
    return Recipe(
        name="tiny", model=ModelSpec("basic-cnn"), epochs=2, batch_size=32, precision="float32"
    )


def reliability(*arguments):
    """What benchmarks/reliability.py finds: its last line."""
    done = subprocess.run(
        [sys.executable, RELIABILITY, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def every_epoch_is_written(monkeypatch):
    """As where an epoch takes its time."""
    monkeypatch.setattr("mien.training.loop._WRITE_EVERY", 0.0)
