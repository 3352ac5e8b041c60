"""Find pictures that are useless for training: of one tone, not photographs, too dark, too bright, without a face.

The limits were chosen on FER-2013, by inspection of its pictures and comparison with FER+'s votes for "no face";
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

#: A picture with a standard deviation of gray levels below the first is blank, below the second of little contrast.
BLANK, LITTLE_CONTRAST = 2.0, 15.0
#: A picture with a mean gray level below the first is dark, above the second bright.
DARK, BRIGHT = 30.0, 220.0
#: A picture is drawn or written, not a photograph, if more than this share of its pixels equal their right neighbour:
#: photographs have noise. Screens that say "image not available", icons and line drawings lie above, most cartoons
#: below.
FLAT = 0.5

#: Longer side, in pixels, of the first search for a face, and of the second one if the first finds none. A border
#: of a quarter of it is added on each side, because a face that fills its picture looks cut off to the detector.
_SIDES = (96, 192)
_BORDER = 0.25
#: Lowest score of the detector in the first and in the second search.
_SURE = (0.5, 0.1)
_AT_A_TIME = 1024


@dataclass(frozen=True)
class Tones:
    """Figures of gray levels of N pictures, float32 (N,) each.

    Attributes:
        mean: mean level, 0..255.
        spread: standard deviation of levels.
        flat: share of pixels that equal their right neighbour, 0..1.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    flat: NDArray[np.float32]


def measure_tones(store: FaceStore) -> Tones:
    """Measure the tones of every face of a store, over all channels together."""
    figures = np.empty((3, len(store)), np.float32)
    for start in range(0, len(store), _AT_A_TIME):
        pixels = store.read(np.arange(start, min(start + _AT_A_TIME, len(store))))
        part = figures[:, start : start + len(pixels)]
        part[0] = pixels.mean(axis=(1, 2, 3))
        part[1] = pixels.std(axis=(1, 2, 3))
        equal = (pixels[..., 1:] == pixels[..., :-1]).all(axis=1)
        part[2] = equal.mean(axis=(1, 2)) if equal.size else 1.0
    return Tones(*figures)


def faceless(store: FaceStore, progress: Progress | None = None) -> NDArray[np.bool_]:
    """Search each picture with YuNet, small and then large.

    Args:
        store: the N faces.
        progress: called from time to time with (faces done, faces in all).

    Returns:
        bool (N,), True if neither search finds a face.

    Raises:
        InputError: the detector's model is missing.
    """
    small, large = (
        YuNet(size=2 * side, score=score, thorough=False, threads=1)
        for side, score in zip(_SIDES, _SURE, strict=True)
    )

    def is_faceless(face: NDArray[np.uint8]) -> bool:
        return not small(_framed(face, _SIDES[0])) and not large(_framed(face, _SIDES[1]))

    found = np.empty(len(store), np.bool_)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(store), _AT_A_TIME):
            part = np.arange(start, min(start + _AT_A_TIME, len(store)))
            found[part] = list(pool.map(is_faceless, store.read(part)))
            if progress is not None:
                progress(start + len(part), len(store))
    return found


def _framed(face: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize a face, uint8 (C, H, W), to a longer side and add a border: uint8 RGB (h, w, 3)."""
    image = np.ascontiguousarray(np.broadcast_to(face, (3, *face.shape[1:])).transpose(1, 2, 0))
    scale = side / max(face.shape[1:])
    sizes = [max(1, round(length * scale)) for length in face.shape[:0:-1]]
    image = np.asarray(cv2.resize(image, sizes, interpolation=cv2.INTER_LINEAR), np.uint8)
    border = round(_BORDER * side)
    return np.pad(image, ((border, border), (border, border), (0, 0)), mode="edge")
