"""Augmentation as batched tensor code, on the faces' device.

A *view* of a face is a row of uniform random numbers, one for each thing that can be done to it. Rows
are drawn for all faces of an epoch at once, so what happens to a face depends on (seed, epoch, face)
alone: not on the batch it is in, nor on how many processes share the work. And a view can be shown
again: to a teacher first, to its student later.

Shapes: B faces, C channels, H height, W width, U uniform numbers of a view.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional

from mien.input_spec import InputSpec
from mien.models.preparing import normalise, resize, to_unit
from mien.recipe import Augment

#: What each number of a view decides, in the order in which they came to be: what is new is drawn after
#: the rest, so that what was there is as it was.
_NUMBERS = (
    (
        "mirror", "angle", "zoom", "shift_x", "shift_y", "brightness", "contrast",
        "erase", "area", "aspect", "top", "left", "gray",
    ),
    ("blur", "noise", "noise_top", "noise_left"),
    ("border", "border_gray"),
)  # fmt: skip
#: Side of the field that noise is cut out of: far more windows than there are faces in an epoch.
_FIELD = 1024


def draw_views(faces: int, generator: torch.Generator) -> Tensor:
    """A view of each of so many faces: float32 (faces, U) on the CPU, uniform in 0..1."""
    return torch.cat(
        [torch.rand(faces, len(names), generator=generator) for names in _NUMBERS], dim=1
    )


def augmented(faces_BCHW: Tensor, views_BU: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """uint8 (B, C, H, W) -> float32 (B, *spec.shape): changed as their views say, resized, normalised."""
    return normalise(changed(faces_BCHW, views_BU, spec, augment), spec)


def changed(faces_BCHW: Tensor, views_BU: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """uint8 (B, C, H, W) -> float32 (B, 1 or C, height, width) in 0..1, as `normalise` takes it."""
    columns = views_BU.to(faces_BCHW.device).unbind(1)
    numbers = dict(zip(chain.from_iterable(_NUMBERS), columns, strict=True))
    unit_BCHW = to_unit(faces_BCHW, spec.channels)
    if augment.spare:
        numbers |= _sparing(numbers, augment.spare)
    mirrored_B = numbers["mirror"] < augment.flip
    if augment.rotation or augment.shift or augment.scale != (1.0, 1.0):
        unit_BCHW = _moved(unit_BCHW, mirrored_B, numbers, spec, augment)
    else:
        if augment.flip:
            unit_BCHW = torch.where(_each(mirrored_B), unit_BCHW.flip(3), unit_BCHW)
        unit_BCHW = resize(unit_BCHW, spec.height, spec.width)
    if augment.light:
        unit_BCHW = _relit(unit_BCHW, numbers, augment.light)
    if augment.blur:
        unit_BCHW = _blurred(unit_BCHW, numbers["blur"] * augment.blur, augment.blur)
    if augment.noise:
        unit_BCHW = _noisy(unit_BCHW, numbers, augment.noise)
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
    grid = functional.affine_grid(
        theta_B23, [*unit_BCHW.shape[:2], spec.height, spec.width], align_corners=False
    )
    if augment.border == "varied":
        return _bordered(unit_BCHW, grid, numbers)
    return functional.grid_sample(
        unit_BCHW, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _bordered(unit_BCHW: Tensor, grid_BHW2: Tensor, numbers: dict[str, Tensor]) -> Tensor:
    """Sampled at a grid; beyond the face, by its number: black, one gray, the edge drawn out, the mirror image."""
    choice_B = (numbers["border"] * 4).long()
    beyond_BHW = (grid_BHW2.abs() > 1).any(dim=3)
    mirrored_BHW2 = 1 - ((grid_BHW2 + 1) % 4 - 2).abs()  # 1.2 -> 0.8, -1.2 -> -0.8
    grid_BHW2 = torch.where(_each(choice_B == 3), mirrored_BHW2, grid_BHW2)
    sampled_BCHW = functional.grid_sample(
        unit_BCHW, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False
    )
    level_B = torch.where(choice_B == 1, numbers["border_gray"], 0.0)
    painted_BHW = beyond_BHW & (choice_B < 2).view(-1, 1, 1)
    return torch.where(painted_BHW[:, None], _each(level_B), sampled_BCHW)


def _sparing(numbers: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The numbers of what harms a picture, with so many of each at the value that changes nothing."""

    def spared(strength_B: Tensor) -> Tensor:
        return ((strength_B - share) / (1 - share)).clamp(min=0)

    def spared_both_ways(number_B: Tensor) -> Tensor:
        way_B = 2 * number_B - 1
        return (1 + way_B.sign() * spared(way_B.abs())) / 2

    return {name: spared(numbers[name]) for name in ("blur", "noise")} | {
        name: spared_both_ways(numbers[name]) for name in ("contrast", "brightness")
    }


def _relit(unit_BCHW: Tensor, numbers: dict[str, Tensor], light: float) -> Tensor:
    """Contrast about each face's mean, then brightness, each by a factor of 1 ± light."""
    contrast_B, brightness_B = (
        _between(numbers[name], 1 - light, 1 + light) for name in ("contrast", "brightness")
    )
    mean_B111 = unit_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    relit_BCHW = (unit_BCHW - mean_B111) * _each(contrast_B) + mean_B111
    return (relit_BCHW * _each(brightness_B)).clamp_(0, 1)


def _blurred(unit_BCHW: Tensor, sigma_B: Tensor, largest: float) -> Tensor:
    """Each face by a Gaussian of its own width in pixels: all of them as channels of one picture."""
    faces, channels = unit_BCHW.shape[:2]
    reach = math.ceil(3 * largest)
    offsets = torch.arange(-reach, reach + 1, device=unit_BCHW.device, dtype=unit_BCHW.dtype)
    weights_BR = torch.exp(-((offsets / sigma_B[:, None].clamp(min=1e-3)) ** 2) / 2)
    weights_BR = (weights_BR / weights_BR.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    side_by_side = unit_BCHW.flatten(0, 1)[None]
    padded = functional.pad(side_by_side, [reach] * 4, mode="replicate")
    groups = faces * channels
    rows = functional.conv2d(padded, weights_BR[:, None, None, :], groups=groups)
    both = functional.conv2d(rows, weights_BR[:, None, :, None], groups=groups)
    return both.view_as(unit_BCHW)


def _noisy(unit_BCHW: Tensor, numbers: dict[str, Tensor], largest: float) -> Tensor:
    """Gaussian noise of each face's own strength, the same in all channels.

    It is a window of one large field, the same in every training, so a view decides it like the rest.
    """
    height, width = unit_BCHW.shape[2:]
    field = _noise_field(height + _FIELD, width + _FIELD, unit_BCHW.device)
    top_B, left_B = ((numbers[name] * _FIELD).long() for name in ("noise_top", "noise_left"))
    rows_BH = top_B[:, None] + torch.arange(height, device=field.device)
    columns_BW = left_B[:, None] + torch.arange(width, device=field.device)
    noise_BHW = field[rows_BH[:, :, None], columns_BW[:, None]]
    strength_B = numbers["noise"] * largest
    return (unit_BCHW + _each(strength_B) * noise_BHW[:, None]).clamp_(0, 1)


@cache
def _noise_field(height: int, width: int, device: torch.device) -> Tensor:
    """Standard normal, float32 (height, width) on the device, the same numbers on each."""
    return torch.randn(height, width, generator=torch.Generator().manual_seed(0)).to(device)


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
