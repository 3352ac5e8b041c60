"""Faces of any size and channels to those that a model takes, as `models/preparing.py` does it, without torch.

The one difference: the graph takes uint8, so what is resized is rounded to whole gray levels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mien.input_spec import InputSpec

# Rec. 601 luma, as PIL's convert("L") computes it.
_LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)


def fitted(faces_NCHW: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """uint8 (N, 1 or 3, H, W) of any size -> uint8 (N, *spec.shape); the very array where it fits."""
    if faces_NCHW.shape[1:] == spec.shape:
        return faces_NCHW
    height, width = faces_NCHW.shape[2:]
    values_NCHW = faces_NCHW
    if (spec.height, spec.width) != (height, width) or faces_NCHW.shape[1] > spec.channels:
        levels_NCHW = faces_NCHW.astype(np.float32)
        if levels_NCHW.shape[1] > spec.channels:
            levels_NCHW = np.einsum("nchw,c->nhw", levels_NCHW, _LUMA)[:, None]
        if (spec.height, spec.width) != (height, width):
            levels_NCHW = levels_NCHW @ _weights(width, spec.width).T
            levels_NCHW = _weights(height, spec.height) @ levels_NCHW
        values_NCHW = np.clip(np.rint(levels_NCHW), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values_NCHW, (len(faces_NCHW), *spec.shape)))


@lru_cache(maxsize=32)
def _weights(old: int, new: int) -> NDArray[np.float32]:
    """float32 (new, old): the share of each old pixel in each new one, rows summing to 1.

    Bilinear: a triangle around the new pixel's centre, one pixel wide to each side, of the larger
    of the two grids; so it averages where it shrinks (antialiasing, as in PIL and torch).
    """
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distances = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(scale, 1.0)
    shares = np.maximum(1.0 - distances, 0.0)
    weights: NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    weights.setflags(write=False)
    return weights
