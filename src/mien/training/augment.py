"""Augmentation as batched tensor code, on the faces' device.

A *view* of a face is a row of uniform random numbers, one for each thing that can be done to it. Rows
are drawn for all faces of an epoch at once, so what happens to a face depends on (seed, epoch, face)
alone: not on the batch it is in, nor on how many processes share the work. And a view can be shown
again: to a teacher first, to its student later.

Shapes: B faces, C channels, H height, W width, U uniform numbers of a view.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mien.faces import InputSpec
from mien.models.preparing import normalise, resize, to_unit
from mien.training.recipe import Augment

#: What each number of a view decides.
_NUMBERS = (
    "mirror", "angle", "zoom", "shift_x", "shift_y", "brightness", "contrast",
    "erase", "area", "aspect", "top", "left", "gray",
)  # fmt: skip


def draw_views(faces: int, generator: torch.Generator) -> Tensor:
    """A view of each of so many faces: float32 (faces, U) on the CPU, uniform in 0..1."""
    return torch.rand(faces, len(_NUMBERS), generator=generator)


def augmented(faces_BCHW: Tensor, views_BU: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """uint8 (B, C, H, W) -> float32 (B, *spec.shape): changed as their views say, resized, normalised."""
    return normalise(changed(faces_BCHW, views_BU, spec, augment), spec)


def changed(faces_BCHW: Tensor, views_BU: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """uint8 (B, C, H, W) -> float32 (B, 1 or C, height, width) in 0..1, as `normalise` takes it."""
    numbers = dict(zip(_NUMBERS, views_BU.to(faces_BCHW.device).unbind(1), strict=True))
    unit_BCHW = to_unit(faces_BCHW, spec.channels)
    mirrored_B = numbers["mirror"] < augment.flip
    if augment.rotation or augment.shift or augment.scale != (1.0, 1.0):
        unit_BCHW = _moved(unit_BCHW, mirrored_B, numbers, spec, augment)
    else:
        if augment.flip:
            unit_BCHW = torch.where(_each(mirrored_B), unit_BCHW.flip(3), unit_BCHW)
        unit_BCHW = resize(unit_BCHW, spec.height, spec.width)
    if augment.light:
        unit_BCHW = _relit(unit_BCHW, numbers, augment.light)
    if augment.erase:
        unit_BCHW = _erased(unit_BCHW, numbers, augment.erase)
    return unit_BCHW


def _between(uniform_B: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform_B


def _each(values_B: Tensor) -> Tensor:
    """A value a face, to be broadcast over its pixels."""
    return values_B.view(-1, 1, 1, 1)


def _moved(
    unit_BCHW: Tensor,
    mirrored_B: Tensor,
    numbers: dict[str, Tensor],
    spec: InputSpec,
    augment: Augment,
) -> Tensor:
    """Mirror, rotation, scale and shift as one resampling, straight to the network's size."""
    # Sampling at a lower rate than the pixels' would alias: shrink first, then move.
    unit_BCHW = resize(
        unit_BCHW, min(unit_BCHW.shape[2], spec.height), min(unit_BCHW.shape[3], spec.width)
    )
    angle_B = _between(numbers["angle"], -augment.rotation, augment.rotation) * (math.pi / 180)
    zoom_B = _between(numbers["zoom"], *augment.scale)
    mirror_B = torch.where(mirrored_B, -1.0, 1.0)
    # affine_grid's coordinates run from -1 to 1, so a side is 2 long. The matrix leads from output
    # to input: the inverse of a zoom by z is 1 / z.
    cos_B, sin_B = torch.cos(angle_B) / zoom_B, torch.sin(angle_B) / zoom_B
    aspect = spec.height / spec.width
    shift_x_B, shift_y_B = (
        _between(numbers[name], -2 * augment.shift, 2 * augment.shift)
        for name in ("shift_x", "shift_y")
    )
    theta_B23 = torch.stack(
        [
            torch.stack([mirror_B * cos_B, -mirror_B * sin_B * aspect, shift_x_B], dim=1),
            torch.stack([sin_B / aspect, cos_B, shift_y_B], dim=1),
        ],
        dim=1,
    )
    grid = torch.nn.functional.affine_grid(
        theta_B23, [*unit_BCHW.shape[:2], spec.height, spec.width], align_corners=False
    )
    return torch.nn.functional.grid_sample(
        unit_BCHW, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _relit(unit_BCHW: Tensor, numbers: dict[str, Tensor], light: float) -> Tensor:
    """Contrast about each face's mean, then brightness, each by a factor of 1 ± light."""
    contrast_B, brightness_B = (
        _between(numbers[name], 1 - light, 1 + light) for name in ("contrast", "brightness")
    )
    mean_B111 = unit_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    relit_BCHW = (unit_BCHW - mean_B111) * _each(contrast_B) + mean_B111
    return (relit_BCHW * _each(brightness_B)).clamp_(0, 1)


def _erased(unit_BCHW: Tensor, numbers: dict[str, Tensor], probability: float) -> Tensor:
    """A rectangle of 2 to 20 % of the area and an aspect of 0.3 to 3.3, filled with one gray."""
    height, width = unit_BCHW.shape[2:]
    area_B = _between(numbers["area"], 0.02, 0.2)
    aspect_B = _between(numbers["aspect"], math.log(0.3), math.log(3.3)).exp()
    tall_B, wide_B = (
        (area_B * aspect_B).sqrt().clamp(max=1),
        (area_B / aspect_B).sqrt().clamp(max=1),
    )
    top_B, left_B = numbers["top"] * (1 - tall_B), numbers["left"] * (1 - wide_B)

    def inside(start_B: Tensor, length_B: Tensor, pixels: int) -> Tensor:
        centre = (torch.arange(pixels, device=unit_BCHW.device) + 0.5) / pixels
        return (centre >= start_B[:, None]) & (centre < (start_B + length_B)[:, None])

    rectangle_BHW = (
        inside(top_B, tall_B, height)[:, :, None] & inside(left_B, wide_B, width)[:, None]
    )
    rectangle_BHW &= (numbers["erase"] < probability)[:, None, None]
    return torch.where(rectangle_BHW[:, None], _each(numbers["gray"]), unit_BCHW)
