"""Augmentation as batched tensor code, on the faces' device, drawn from torch's default generator.

Shapes: B faces, C channels, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mien.faces import InputSpec
from mien.models.preparing import normalise, resize, to_unit
from mien.training.recipe import Augment


def augmented(faces_BCHW: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """uint8 (B, C, H, W) -> float32 (B, *spec.shape): changed at random, resized, normalised."""
    unit_BCHW = to_unit(faces_BCHW, spec.channels)
    if augment.rotation or augment.shift or augment.scale != (1.0, 1.0):
        unit_BCHW = _moved(unit_BCHW, spec, augment)
    else:
        unit_BCHW = resize(_mirrored(unit_BCHW, augment.flip), spec.height, spec.width)
    if augment.erase:
        unit_BCHW = _erased(unit_BCHW, augment.erase)
    return normalise(unit_BCHW, spec)


def _mirrored(unit_BCHW: Tensor, probability: float) -> Tensor:
    if not probability:
        return unit_BCHW
    chosen = torch.rand(len(unit_BCHW), 1, 1, 1, device=unit_BCHW.device) < probability
    return torch.where(chosen, unit_BCHW.flip(3), unit_BCHW)


def _moved(unit_BCHW: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """Mirror, rotation, scale and shift as one resampling, straight to the network's size."""
    # Sampling at a lower rate than the pixels' would alias: shrink first, then move.
    unit_BCHW = resize(
        unit_BCHW, min(unit_BCHW.shape[2], spec.height), min(unit_BCHW.shape[3], spec.width)
    )
    count, device = len(unit_BCHW), unit_BCHW.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    angle = uniform(-augment.rotation, augment.rotation) * (math.pi / 180)
    zoom = uniform(*augment.scale)
    mirror = torch.where(torch.rand(count, device=device) < augment.flip, -1.0, 1.0)
    # affine_grid's coordinates run from -1 to 1, so a side is 2 long. The matrix leads from output
    # to input: the inverse of a zoom by z is 1 / z.
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    aspect = spec.height / spec.width
    shift_x, shift_y = (uniform(-2 * augment.shift, 2 * augment.shift) for _ in range(2))
    theta_B23 = torch.stack(
        [
            torch.stack([mirror * cos, -mirror * sin * aspect, shift_x], dim=1),
            torch.stack([sin / aspect, cos, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(
        theta_B23, [count, unit_BCHW.shape[1], spec.height, spec.width], align_corners=False
    )
    return functional.grid_sample(
        unit_BCHW, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _erased(unit_BCHW: Tensor, probability: float) -> Tensor:
    """A rectangle of 2 to 20 % of the area and an aspect of 0.3 to 3.3, filled with uniform noise."""
    count, _, height, width = unit_BCHW.shape
    device = unit_BCHW.device
    area = torch.empty(count, device=device).uniform_(0.02, 0.2)
    aspect = torch.empty(count, device=device).uniform_(math.log(0.3), math.log(3.3)).exp()
    tall, wide = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    top = torch.rand(count, device=device) * (1 - tall)
    left = torch.rand(count, device=device) * (1 - wide)

    def inside(start: Tensor, length: Tensor, pixels: int) -> Tensor:
        centre = (torch.arange(pixels, device=device) + 0.5) / pixels
        return (centre >= start[:, None]) & (centre < (start + length)[:, None])

    chosen = torch.rand(count, device=device) < probability
    rectangle_BHW = inside(top, tall, height)[:, :, None] & inside(left, wide, width)[:, None, :]
    rectangle_B1HW = (rectangle_BHW & chosen[:, None, None])[:, None]
    return torch.where(rectangle_B1HW, torch.rand_like(unit_BCHW), unit_BCHW)
