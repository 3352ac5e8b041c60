"""Explanations by occlusion: hide a part of a face, and measure how far the answer's probability falls.

After Zeiler and Fergus 2014 (https://arxiv.org/abs/1311.2901). It works with any model, as it needs only the
model's answers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

#: The hidden square's side and its steps, as shares of the face's side.
PATCH, STEP = 1 / 5, 1 / 16
_BATCH = 64
#: RGB of pixels for and against the answer, and the share of that colour at the strongest pixel.
FOR, AGAINST, STRONGEST = (255, 30, 30), (40, 90, 255), 0.65


def hidden_parts(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.floating]],
    face: NDArray[np.uint8],
    step: float = STEP,
) -> NDArray[np.float32]:
    """Compute how far the answer's probability falls when a gray square hides each part of a face.

    Args:
        predict: uint8 (N, C, H, W) -> probabilities (N, K).
        face: uint8 (C, H, W), the network's input.
        step: distance of two squares as a share of the face's side; a larger one is faster and coarser.

    Returns:
        float32 (H, W), -1..1: for each pixel the mean fall in probability over the squares that hid it.
        Above 0 the pixel supports the answer, below 0 it opposes it.
    """
    _, height, width = face.shape
    side = max(1, round(PATCH * max(height, width)))
    stride = max(1, round(step * max(height, width)))
    # The first squares begin outside the face, so that several squares hide its border pixels, too.
    corners = [
        (top, left)
        for top in range(-side + stride, height, stride)
        for left in range(-side + stride, width, stride)
    ]
    gray = face.mean(axis=(1, 2)).round().astype(np.uint8)[:, None, None]
    probabilities_K = np.asarray(predict(face[None]), np.float64)[0]
    answer = int(probabilities_K.argmax())
    fallen, times = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(corners), _BATCH):
        covers = [
            np.s_[max(0, top) : top + side, max(0, left) : left + side]
            for top, left in corners[start : start + _BATCH]
        ]
        shown = np.repeat(face[None], len(covers), axis=0)
        for hidden, cover in zip(shown, covers, strict=True):
            hidden[:, *cover] = gray
        for cover, left_over in zip(covers, predict(shown)[:, answer], strict=True):
            fallen[cover] += probabilities_K[answer] - float(left_over)
            times[cover] += 1
    return (fallen / times).astype(np.float32)


def painted(face: NDArray[np.uint8], mattered: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour a face by its map: pixels for the answer red, those against it blue.

    Args:
        face: uint8 (C, H, W), the network's input.
        mattered: float32 (H, W), the map that `hidden_parts` computes.

    Returns:
        uint8 RGB (H, W, 3).
    """
    strength = np.abs(mattered) / max(float(np.abs(mattered).max()), 1e-6)
    colour = np.where(mattered[..., None] > 0, FOR, AGAINST)
    gray = face.mean(axis=0)[..., None]
    share = STRONGEST * strength[..., None]
    painted_HWC: NDArray[np.uint8] = (gray * (1 - share) + colour * share).round().astype(np.uint8)
    return painted_HWC
