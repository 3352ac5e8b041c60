"""Resizing faces and converting them to gray, without torch: shared by readers of data and recognition.

`models/preparing.py` does the same in torch, which a test compares. The difference: here the result is rounded to
uint8, once, as stores and model files need it.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.input_spec import LUMA, InputSpec

_LUMA_C = np.array(LUMA, np.float32)
#: Larger pictures are first reduced to so many pixels a side by a method that is fast and needs little memory.
_LARGEST = 2048


def ready_crop(picture: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Convert a picture that is already a face crop to a network's input, as training does: `squared`, then `fitted`.

    Args:
        picture: uint8, gray (H, W) or RGB (H, W, 3).
        spec: the network's input.

    Returns:
        uint8 (1, *spec.shape).
    """
    # `fitted` computes in float32, in which a large photo would take hundreds of megabytes.
    picture = squared(_reduced(picture))
    channels_first = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return fitted(channels_first[None], spec)


def squared(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a face crop square, so that resizing does not stretch the face.

    Its border pixels are repeated on both sides of the shorter axis, as `mien.recognise.detect.crop` repeats
    them beyond a photo. If it is not square and its longer side is above 2048 pixels, it is first reduced to
    2048: the square of a panorama would not fit into the memory.

    Args:
        picture: uint8, gray (H, W) or RGB (H, W, 3).

    Returns:
        uint8 (S, S) or (S, S, 3); the same array if it is square already.
    """
    if picture.shape[0] == picture.shape[1]:
        return picture
    picture = _reduced(picture)
    side = max(picture.shape[:2])
    around = [((side - length) // 2, (side - length + 1) // 2) for length in picture.shape[:2]]
    return np.pad(picture, around + [(0, 0)] * (picture.ndim - 2), mode="edge")


def _reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a picture whose longer side is above `_LARGEST` to that; others stay the same array."""
    longer = max(picture.shape[:2])
    if longer <= _LARGEST:
        return picture
    small = [max(1, round(length * _LARGEST / longer)) for length in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)


def fitted(faces_NCHW: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Resize faces to a network's input, and convert their channels.

    Args:
        faces_NCHW: uint8 (N, 1 or 3, H, W); three channels are RGB.
        spec: the network's input.

    Returns:
        uint8 (N, *spec.shape); the same array if it has this shape already.
    """
    if faces_NCHW.shape[1:] == spec.shape:
        return faces_NCHW
    height, width = faces_NCHW.shape[2:]
    values_NCHW = faces_NCHW
    if (spec.height, spec.width) != (height, width) or faces_NCHW.shape[1] > spec.channels:
        levels_NCHW = faces_NCHW.astype(np.float32)
        if levels_NCHW.shape[1] > spec.channels:
            levels_NCHW = np.einsum("nchw,c->nhw", levels_NCHW, _LUMA_C)[:, None]
        if (spec.height, spec.width) != (height, width):
            levels_NCHW = levels_NCHW @ _weights(width, spec.width).T
            levels_NCHW = _weights(height, spec.height) @ levels_NCHW
        values_NCHW = np.clip(np.rint(levels_NCHW), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values_NCHW, (len(faces_NCHW), *spec.shape)))


@lru_cache(maxsize=32)
def _weights(old: int, new: int) -> NDArray[np.float32]:
    """The matrix of a resize along one axis, float32 (new, old): weights of old pixels; rows sum to 1.

    Bilinear with antialiasing, as in PIL and torch: a triangle filter around each new pixel's centre that
    reaches one pixel to each side, in pixels of the coarser of the two grids.
    """
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distances = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(scale, 1.0)
    shares = np.maximum(1.0 - distances, 0.0)
    weights: NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    weights.setflags(write=False)
    return weights
