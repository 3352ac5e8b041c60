"""Prepare uint8 faces as a network's input, in the same way for training, evaluation and export.

Shapes: B faces, C channels, H height, W width.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from mien.input_spec import LUMA, InputSpec

#: Standard deviation, of values 0..1, below which contrast is taken for noise and is not amplified further.
_NOISE = 0.01


def to_unit(faces_BCHW: Tensor, channels: int) -> Tensor:
    """Convert faces, uint8 (B, C, H, W), to float32 in 0..1.

    RGB becomes luma if `channels` is 1. Gray stays (B, 1, H, W) even for a network with three channels:
    `normalise` repeats it later, so that augmentation in between has only a third of the data to process.
    """
    return in_gray(faces_BCHW.float().div_(255), channels)


def in_gray(unit_BCHW: Tensor, channels: int) -> Tensor:
    """Convert RGB faces, float32 (B, 3, H, W), to luma (B, 1, H, W) if `channels` is 1; others stay as they are."""
    if channels == 1 and unit_BCHW.shape[1] == 3:
        return (unit_BCHW * _beside(unit_BCHW, LUMA)).sum(dim=1, keepdim=True)
    return unit_BCHW


def resize(unit_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Resize faces, float32 (B, C, H, W), by bilinear interpolation, with antialiasing if they shrink."""
    if unit_BCHW.shape[2:] == (height, width):
        return unit_BCHW
    return functional.interpolate(
        unit_BCHW, (height, width), mode="bilinear", align_corners=False, antialias=True
    )


def normalise(unit_BCHW: Tensor, spec: InputSpec) -> Tensor:
    """Compute (x - mean) / std of each channel, float32 (B, spec.channels, H, W), channels-last in memory.

    If `spec.standardise` is set, each face is standardised first. Gray is repeated to all channels.
    """
    if spec.standardise:
        unit_BCHW = _standardised(unit_BCHW)
    normalised_BCHW = (unit_BCHW - _beside(unit_BCHW, spec.mean)) / _beside(unit_BCHW, spec.std)
    return normalised_BCHW.expand(-1, spec.channels, -1, -1).contiguous(
        memory_format=torch.channels_last
    )


def _beside(unit_BCHW: Tensor, values: tuple[float, ...]) -> Tensor:
    """One number for each channel as float32 (1, C, 1, 1) on the device of the faces.

    On a GPU the tensor is cached, because each copy from the CPU would wait for the GPU.
    """
    # No wait here; and export must trace a new tensor, not a cached one.
    if unit_BCHW.device.type == "cpu":
        return _channels(values, unit_BCHW.device)
    return _channels_kept(values, unit_BCHW.device)


def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    # A cached inference tensor could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


_channels_kept = cache(_channels)


def _standardised(unit_BCHW: Tensor) -> Tensor:
    """Scale each face to mean 0 and standard deviation 1 over its pixels and channels; flat faces stay flat."""
    centred_BCHW = unit_BCHW - unit_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    variance_B111 = centred_BCHW.square().mean(dim=(1, 2, 3), keepdim=True)
    return centred_BCHW * (variance_B111 + _NOISE**2).rsqrt()


def prepare(faces_BCHW: Tensor, spec: InputSpec) -> Tensor:
    """Convert faces, uint8 (B, C, H, W) of any size, to normalised float32 (B, *spec.shape), not augmented."""
    unit_BCHW = to_unit(faces_BCHW, spec.channels)
    return normalise(resize(unit_BCHW, spec.height, spec.width), spec)
