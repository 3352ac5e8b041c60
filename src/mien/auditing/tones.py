"""Pictures that are no good to learn from: of one tone, not photographs, too dark, too bright, without a face.

The limits were chosen on FER-2013, its pictures looked at and the votes of FER+ on "no face" laid beside;
docs/data-audit.md has the figures.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.callbacks import Progress
from mien.data.store import FaceStore
from mien.recognise.yunet import YuNet

#: Standard deviation of gray levels below which a picture is blank, and below which it has little contrast.
BLANK, LITTLE_CONTRAST = 2.0, 15.0
#: Mean gray level below which a picture is dark, and above which it is bright.
DARK, BRIGHT = 30.0, 220.0
#: Share of pixels that equal their right neighbour above which a picture is drawn or written: a photograph
#: has noise. Screens that say "image not available", icons and line drawings lie above, most cartoons below.
FLAT = 0.5

#: The longer side, in pixels, at which faces are looked for, and again where none was found; around them a
#: quarter of it is added, for a face that fills its picture is a face cut off.
_SIDES = (96, 192)
_BORDER = 0.25
#: How sure the detector has to be at the first look, and at the second.
_SURE = (0.5, 0.1)
_AT_A_TIME = 1024


@dataclass(frozen=True)
class Tones:
    """float32 (N,) each: mean and standard deviation of gray levels, share of equal neighbours."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    flat: NDArray[np.float32]


def measure_tones(store: FaceStore) -> Tones:
    """The tones of every face of a store, channels taken together."""
    figures = np.empty((3, len(store)), np.float32)
    for start in range(0, len(store), _AT_A_TIME):
        pixels = np.asarray(store.pixels[start : start + _AT_A_TIME])
        part = figures[:, start : start + len(pixels)]
        part[0] = pixels.mean(axis=(1, 2, 3))
        part[1] = pixels.std(axis=(1, 2, 3))
        equal = (pixels[..., 1:] == pixels[..., :-1]).all(axis=1)
        part[2] = equal.mean(axis=(1, 2)) if equal.size else 1.0
    return Tones(*figures)


def faceless(store: FaceStore, progress: Progress | None = None) -> NDArray[np.bool_]:
    """bool (N,): True where YuNet finds no face in a picture, looked at small and then large."""
    small, large = (
        YuNet(size=2 * side, score=score, thorough=False, threads=1)
        for side, score in zip(_SIDES, _SURE, strict=True)
    )

    def is_faceless(index: int) -> bool:
        face = store.pixels[index]
        return not small(_framed(face, _SIDES[0])) and not large(_framed(face, _SIDES[1]))

    found = np.empty(len(store), np.bool_)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(store), _AT_A_TIME):
            part = range(start, min(start + _AT_A_TIME, len(store)))
            found[part.start : part.stop] = list(pool.map(is_faceless, part))
            if progress is not None:
                progress(part.stop, len(store))
    return found


def _framed(face: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A face, uint8 (C, H, W), as RGB (h, w, 3), its longer side as given and a border around it."""
    image = np.ascontiguousarray(np.broadcast_to(face, (3, *face.shape[1:])).transpose(1, 2, 0))
    scale = side / max(face.shape[1:])
    sizes = [max(1, round(length * scale)) for length in face.shape[:0:-1]]
    image = np.asarray(cv2.resize(image, sizes, interpolation=cv2.INTER_LINEAR), np.uint8)
    border = round(_BORDER * side)
    return np.pad(image, ((border, border), (border, border), (0, 0)), mode="edge")
