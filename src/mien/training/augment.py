"""Augmentation as batched tensor code, on the faces' device.

A *view* of a face is a row of uniform random numbers, one for each kind of change. Views are drawn for
all faces of an epoch at once, so the changes of a face depend only on (seed, epoch, face): not on its
batch, nor on the number of processes. A view can also be repeated: first for a teacher, later for its
student.

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

#: The meaning of each number of a view. New groups are appended at the end and drawn last, so that the numbers
#: of older groups, and with them the results of older recipes, do not change.
_NUMBERS = (
    (
        "mirror", "angle", "zoom", "shift_x", "shift_y", "brightness", "contrast",
        "erase", "area", "aspect", "top", "left", "gray",
    ),
    ("blur", "noise", "noise_top", "noise_left"),
    ("border", "border_gray"),
)  # fmt: skip
#: The noise of a face is a window of a large fixed field; this is the number of its possible positions in each
#: direction, far more windows in all than faces in an epoch.
_FIELD = 1024


def draw_views(faces: int, generator: torch.Generator) -> Tensor:
    """Draw a view for each of `faces` faces: float32 (faces, U) on the CPU, uniform in 0..1."""
    return torch.cat(
        [torch.rand(faces, len(names), generator=generator) for names in _NUMBERS], dim=1
    )


def augmented(faces_BCHW: Tensor, views_BU: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """Augment faces by their views, resize and normalise them for a network.

    Args:
        faces_BCHW: uint8 (B, C, H, W), gray or RGB.
        views_BU: float32 (B, U), see `draw_views`.
        spec: the network's input.
        augment: kinds and strengths of the changes.

    Returns:
        float32 (B, *spec.shape) on the faces' device.
    """
    return normalise(changed(faces_BCHW, views_BU, spec, augment), spec)


def changed(faces_BCHW: Tensor, views_BU: Tensor, spec: InputSpec, augment: Augment) -> Tensor:
    """Like `augmented`, but not yet normalised: float32 (B, 1 or C, spec.height, spec.width) in 0..1."""
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
    """Reshape one value for each face, (B,), to (B, 1, 1, 1), to be broadcast over its pixels."""
    return values_B.view(-1, 1, 1, 1)


def _moved(
    unit_BCHW: Tensor,
    mirrored_B: Tensor,
    numbers: dict[str, Tensor],
    spec: InputSpec,
    augment: Augment,
) -> Tensor:
    """Mirror, rotate, scale and shift faces in one resampling, directly to the network's size."""
    # Sampling fewer points than pixels would cause aliasing, so larger faces are shrunk first.
    unit_BCHW = resize(
        unit_BCHW, min(unit_BCHW.shape[2], spec.height), min(unit_BCHW.shape[3], spec.width)
    )
    angle_B = _between(numbers["angle"], -augment.rotation, augment.rotation) * (math.pi / 180)
    zoom_B = _between(numbers["zoom"], *augment.scale)
    mirror_B = torch.where(mirrored_B, -1.0, 1.0)
    # affine_grid's coordinates are -1 to 1 along each side, so a side has length 2, and in a face that is not
    # square x and y have different units: hence `aspect`. The matrix maps output to input, so a zoom by z is 1 / z.
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
    """Sample faces at a grid; the number `border` of each view chooses the filling outside of the face.

    The fillings are black, one gray, the repeated edge pixels, and the mirror image, each with probability 1/4.
    """
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
    """Rescale the numbers of blur, noise, contrast and brightness, so that each leaves `share` of the faces as is."""

    def spared(strength_B: Tensor) -> Tensor:
        return ((strength_B - share) / (1 - share)).clamp(min=0)

    def spared_both_ways(number_B: Tensor) -> Tensor:
        way_B = 2 * number_B - 1
        return (1 + way_B.sign() * spared(way_B.abs())) / 2

    return {name: spared(numbers[name]) for name in ("blur", "noise")} | {
        name: spared_both_ways(numbers[name]) for name in ("contrast", "brightness")
    }


def _relit(unit_BCHW: Tensor, numbers: dict[str, Tensor], light: float) -> Tensor:
    """Change contrast around each face's mean, then brightness, each by a factor between 1 - light and 1 + light."""
    contrast_B, brightness_B = (
        _between(numbers[name], 1 - light, 1 + light) for name in ("contrast", "brightness")
    )
    mean_B111 = unit_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    relit_BCHW = (unit_BCHW - mean_B111) * _each(contrast_B) + mean_B111
    return (relit_BCHW * _each(brightness_B)).clamp_(0, 1)


def _blurred(unit_BCHW: Tensor, sigma_B: Tensor, largest: float) -> Tensor:
    """Blur each face by a Gaussian of its own `sigma_B`, float32 (B,), in pixels; `largest` bounds sigma.

    All faces are channels of one grouped convolution, because torch has no kernel per face.
    """
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
    """Add Gaussian noise, its strength different for each face, its values the same in all channels.

    The noise is a window of one large fixed field; the view decides the window, so noise can be repeated too.
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
    """Standard normal numbers, float32 (height, width) on the device, the same on every device."""
    return torch.randn(height, width, generator=torch.Generator().manual_seed(0)).to(device)


def _erased(unit_BCHW: Tensor, numbers: dict[str, Tensor], probability: float) -> Tensor:
    """Fill a random rectangle of faces with one gray: 2 to 20 % of the area, aspect ratio 0.3 to 3.3."""
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
