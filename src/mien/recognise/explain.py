"""Which pixels mattered: hide a part of a face, and see how much of the answer goes.

Occlusion (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901), which asks nothing of the model
but its answers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

#: The hidden square's side and its steps, as shares of the face's side.
PATCH, STEP = 1 / 5, 1 / 16
_BATCH = 64
#: RGB of what spoke for the answer and against it, and their share of a pixel where they are strongest.
FOR, AGAINST, STRONGEST = (255, 30, 30), (40, 90, 255), 0.65


def hidden_parts(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.floating]],
    face: NDArray[np.uint8],
    step: float = STEP,
) -> NDArray[np.float32]:
    """How much the answer's probability falls where a gray square hides the face.

    Args:
        predict: uint8 (N, C, H, W) -> probabilities (N, K).
        face: uint8 (C, H, W).
        step: from one square to the next, as a share of the face's side: a larger one is coarser and asks less.

    Returns:
        float32 (H, W): the mean fall, in probability (-1..1), over the squares that hid a pixel.
        Above 0 the pixel spoke for the answer, below 0 against it.
    """
    _, height, width = face.shape
    side = max(1, round(PATCH * max(height, width)))
    stride = max(1, round(step * max(height, width)))
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
    """A face, uint8 (C, H, W), under its map: RGB (H, W, 3), red what spoke for the answer, blue against."""
    strength = np.abs(mattered) / max(float(np.abs(mattered).max()), 1e-6)
    colour = np.where(mattered[..., None] > 0, FOR, AGAINST)
    gray = face.mean(axis=0)[..., None]
    share = STRONGEST * strength[..., None]
    painted_HWC: NDArray[np.uint8] = (gray * (1 - share) + colour * share).round().astype(np.uint8)
    return painted_HWC
