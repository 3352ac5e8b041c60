"""What stands in for a trained model where its answers do not matter, and a photo with one face."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.card import CropRule, ModelCard
from mien.expressions import SEVEN
from mien.input_spec import InputSpec


def photo() -> Path:
    """Grace Hopper, 512 x 600 pixels, public domain: it ships inside matplotlib."""
    package = importlib.util.find_spec("matplotlib")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"


class StandIn:
    """Answers by the gray of seven bands of a face: quick, and different for different faces."""

    def __init__(self, spec: InputSpec | None = None, uncertain_below: float = 0.0) -> None:
        self.card = ModelCard(
            name="stand-in",
            expressions=SEVEN,
            input=spec or InputSpec(),
            crop=CropRule(),
            digest="0" * 64,
            uncertain_below=uncertain_below,
        )
        self.batches: list[int] = []

    def __call__(self, faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert faces_NCHW.dtype == np.uint8
        assert faces_NCHW.shape[1:] == self.card.input.shape
        self.batches.append(len(faces_NCHW))
        scores_NK = np.exp(self.features(faces_NCHW) / 20)
        return scores_NK / scores_NK.sum(axis=1, keepdims=True)

    def features(self, faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        bands = np.array_split(faces_NCHW.astype(np.float32), len(SEVEN), axis=2)
        return np.stack([band.mean(axis=(1, 2, 3)) for band in bands], axis=1)
