"""From uint8 faces to a network's input, the same way in training, evaluation and export.

Shapes: B faces, C channels, H height, W width.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from mien.input_spec import LUMA, InputSpec

#: Standard deviation (of values 0..1) that noise alone has: a flat face is not stretched beyond it.
_NOISE = 0.01


def to_unit(faces_BCHW: Tensor, channels: int) -> Tensor:
    """uint8 (B, C, H, W) -> float32 in 0..1. RGB becomes luma where `channels` is 1.

    Gray stays (B, 1, H, W) even for a network of three channels: `normalise` repeats it, so that
    augmentation between the two works on a third of the data.
    """
    unit_BCHW = faces_BCHW.float().div_(255)
    if channels == 1 and unit_BCHW.shape[1] == 3:
        unit_BCHW = (unit_BCHW * _beside(unit_BCHW, LUMA)).sum(dim=1, keepdim=True)
    return unit_BCHW


def resize(unit_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, antialiased where it shrinks; nothing to do where the size is right."""
    if unit_BCHW.shape[2:] == (height, width):
        return unit_BCHW
    return functional.interpolate(
        unit_BCHW, (height, width), mode="bilinear", align_corners=False, antialias=True
    )


def normalise(unit_BCHW: Tensor, spec: InputSpec) -> Tensor:
    """(x - mean) / std by channel, of standardised faces if `spec` says so; gray is repeated to all channels."""
    if spec.standardise:
        unit_BCHW = _standardised(unit_BCHW)
    normalised_BCHW = (unit_BCHW - _beside(unit_BCHW, spec.mean)) / _beside(unit_BCHW, spec.std)
    return normalised_BCHW.expand(-1, spec.channels, -1, -1).contiguous(
        memory_format=torch.channels_last
    )


def _beside(unit_BCHW: Tensor, values: tuple[float, ...]) -> Tensor:
    """A number a channel as float32 (1, C, 1, 1) on the device of the faces, which does not wait for it twice."""
    if unit_BCHW.device.type == "cpu":  # nothing to wait for, and the way that export traces
        return _channels(values, unit_BCHW.device)
    return _channels_kept(values, unit_BCHW.device)


def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # whoever asks first, training may use it later
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


_channels_kept = cache(_channels)


def _standardised(unit_BCHW: Tensor) -> Tensor:
    """Each face with mean 0 and standard deviation 1, over all its pixels and channels; a flat one stays flat."""
    centred_BCHW = unit_BCHW - unit_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    variance_B111 = centred_BCHW.square().mean(dim=(1, 2, 3), keepdim=True)
    return centred_BCHW * (variance_B111 + _NOISE**2).rsqrt()


def prepare(faces_BCHW: Tensor, spec: InputSpec) -> Tensor:
    """uint8 (B, C, H, W) of any size -> float32 (B, *spec.shape), normalised, not augmented."""
    unit_BCHW = to_unit(faces_BCHW, spec.channels)
    return normalise(resize(unit_BCHW, spec.height, spec.width), spec)
