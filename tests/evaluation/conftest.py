"""Made-up stores, predictors and run folders: no torch, no training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mien.data.store import FaceStore
from mien.expressions import SEVEN
from mien.runs import HISTORY_COLUMNS, RunFolder


def digests_of(pixels):
    """Any function of the pixels alone will do as a digest here."""
    sums = pixels.reshape(len(pixels), -1).astype(np.uint64)
    weights = np.arange(1, sums.shape[1] + 1, dtype=np.uint64)
    return np.stack([sums @ weights, (sums * sums) @ weights], axis=1)


@pytest.fixture(scope="session")
def make_store():
    """make_store(splits=(0, 0, 2, ...), ...) -> FaceStore of random 12x12 faces."""

    def make(
        splits, labels=None, expressions=SEVEN, pixels=None, fingerprint="f" * 64, source="made up"
    ):
        n = len(splits)
        generator = np.random.default_rng(0)
        if pixels is None:
            pixels = generator.integers(0, 256, (n, 1, 12, 12), dtype=np.uint8)
        if labels is None:
            labels = np.arange(n) % len(expressions)
        return FaceStore(
            pixels=pixels,
            labels=np.asarray(labels, dtype=np.int64),
            splits=np.asarray(splits, dtype=np.uint8),
            rows=np.array([f"row {i}" for i in range(n)]),
            digests=digests_of(pixels),
            expressions=tuple(expressions),
            fingerprint=fingerprint,
            source=source,
        )

    return make


@pytest.fixture(scope="session")
def predict():
    """A deterministic predictor of seven expressions whose answer depends on the pixels."""

    def answer(faces):
        flat = faces.reshape(len(faces), -1).astype(np.float64) / 255
        weights = np.random.default_rng(1).normal(size=(flat.shape[1], 7))
        logits = flat @ weights
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)

    return answer


def write_run(folder: Path, *, epochs=5, name="made-up", split=None, environment=True, seed=0):
    """A run folder with a recipe, an environment and a history, as training leaves it."""
    folder.mkdir(parents=True)
    recipe = {
        "name": name,
        "model": {"name": "basic-cnn", "options": {"dropout": 0.5}},
        "input": {"channels": 1, "height": 12, "width": 12, "mean": [0.5], "std": [0.5]},
        "expressions": list(SEVEN),
        "split": split or {"holdout": None, "seed": 0},
        "optimizer": {"name": "adam", "lr": 0.001},
        "epochs": max(1, epochs),
        "batch_size": 64,
        "seed": seed,
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    if environment:
        content = {
            "mien": "0.1.0",
            "python": "3.11.9",
            "platform": "Linux",
            "device": "cpu",
            "command": f"mien train {name} --data synthetic",
            "git": {"commit": "abc123", "dirty": False},
            "data": {
                "source": "made up",
                "fingerprint": "f" * 64,
                "expressions": list(SEVEN),
                "counts": {"train": 70, "validation": 14},
                "shape": [1, 12, 12],
            },
            "seconds": 12.5,
        }
        (folder / "environment.json").write_text(json.dumps(content))
    with (folder / "history.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, HISTORY_COLUMNS)
        writer.writeheader()
        for epoch in range(1, epochs + 1):
            train, validation = 1 - 0.7 / epoch, 0.6 - 0.3 / epoch
            writer.writerow(
                {
                    "epoch": epoch,
                    "step": epoch * 10,
                    "learning_rate": 0.001,
                    "train_loss": 1.9 / epoch,
                    "train_accuracy": train,
                    "validation_loss": 1.9 - 0.6 * (1 - 1 / epoch),
                    "validation_accuracy": validation,
                    "gap": train - validation,
                    "seconds": 2.5,
                    "images_per_second": 1000.0,
                }
            )
    return RunFolder.open(folder)


@pytest.fixture(scope="session")
def make_run_in():
    """make_run_in(folder, ...) -> RunFolder at the folder."""
    return write_run


@pytest.fixture
def make_run(tmp_path):
    """make_run("name", ...) -> RunFolder below tmp_path."""

    def make(name="run", **options):
        return write_run(tmp_path / name, name=name.split("/")[0], **options)

    return make
