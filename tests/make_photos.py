"""Pictures that are statistically like photographs, and copies of them as the web makes them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from mien.data import FaceStore
from mien.data.build import digest
from mien.expressions import SEVEN


def photo(seed: int, side: int = 96) -> np.ndarray:
    """uint8 (side, side) of noise whose power falls with the square of the frequency, as photographs' does."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    spectrum = np.fft.fft2(generator.normal(size=(side, side))) / np.maximum(frequency, 1 / side)
    field = np.fft.ifft2(spectrum).real
    field = (field - field.mean()) / field.std()
    return np.clip(128 + 50 * field, 0, 255).astype(np.uint8)


def cut(
    picture: np.ndarray, *, right: float = 0, down: float = 0, zoom: float = 1, side: int = 48
) -> np.ndarray:
    """The middle two thirds of a picture, moved by pixels of the result, as uint8 (side, side)."""
    half, middle = len(picture) / 3 / zoom, len(picture) / 2
    step = 2 * half / side
    box = (
        middle - half + right * step, middle - half + down * step,
        middle + half + right * step, middle + half + down * step,
    )  # fmt: skip
    image = Image.fromarray(picture)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=box))


def as_jpeg(face: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


#: What the web does to a photograph: it stays the same photograph.
SAME = {
    "mirrored": lambda picture: cut(picture)[:, ::-1],
    "brighter": lambda picture: np.clip(cut(picture) * 0.8 + 40, 0, 255).astype(np.uint8),
    "more contrast": lambda picture: np.asarray(
        ImageEnhance.Contrast(Image.fromarray(cut(picture))).enhance(1.4)
    ),
    "saved again": lambda picture: as_jpeg(cut(picture), 25),
    "half the size": lambda picture: np.asarray(
        Image.fromarray(cut(picture, side=24)).resize((48, 48), Image.Resampling.BILINEAR)
    ),
    "shifted": lambda picture: cut(picture, right=1.4, down=-1),
    "cut closer": lambda picture: cut(picture, zoom=1.06),
    "mirrored, shifted, saved": lambda picture: as_jpeg(
        cut(picture, right=1, zoom=1.03)[:, ::-1], 50
    ),
}


def store_of(
    faces: list[np.ndarray],
    labels: list[int] | None = None,
    splits: list[int] | None = None,
    path: Path | None = None,
) -> FaceStore:
    """A store in memory of gray or colour faces; by default all are angry ones to train with."""
    pixels = np.stack([face if face.ndim == 3 else face[None] for face in faces])
    return FaceStore(
        pixels=pixels,
        labels=np.array(labels or [0] * len(faces), np.int64),
        splits=np.array(splits or [0] * len(faces), np.uint8),
        rows=np.array([str(n) for n in range(len(faces))]),
        digests=np.stack([np.frombuffer(digest(face), np.uint64) for face in pixels]),
        expressions=SEVEN,
        fingerprint=digest(pixels).hex(),
        source="made up",
        path=path,
    )
