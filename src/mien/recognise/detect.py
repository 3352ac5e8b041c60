"""Faces in a picture: where they are, and how a network is shown them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.input_spec import InputSpec

if TYPE_CHECKING:
    from mien.card import CropRule

Box: TypeAlias = tuple[float, float, float, float]
#: Right and left eye (the person's), tip of the nose, right and left corner of the mouth: (x, y).
Landmarks: TypeAlias = tuple[tuple[float, float], ...]

#: When shrinking, how many points are averaged for a pixel of a crop, on each axis, at most.
_MOST_POINTS = 16


@dataclass(frozen=True)
class Detection:
    """A face that a detector found.

    Attributes:
        box: (x, y, width, height) in pixels of the picture; x, y is the upper left corner. It may
            reach over the picture's border.
        score: how sure the detector is, 0..1.
        landmarks: five points (x, y) as `Landmarks` says, or None where the detector gives none.
        angle: degrees by which the face is turned clockwise in the picture, as far as the detector
            knows; landmarks know better.
    """

    box: Box
    score: float = 1.0
    landmarks: Landmarks | None = None
    angle: float = 0.0

    def __post_init__(self) -> None:
        # In plain Python: one ready crop is one detection, and NumPy would take a third of its time.
        try:
            box = tuple(map(float, self.box))
            score, angle = float(self.score), float(self.angle)
            points = None
            if self.landmarks is not None:
                points = tuple((float(x), float(y)) for x, y in self.landmarks)
        except (TypeError, ValueError):
            raise InputError(f"a detector gave {self!r}: not numbers") from None
        if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
            raise InputError(
                f"a detector gave the box {self.box}: it has to be (x, y, width, height) in pixels, "
                "width and height above 0"
            )
        if not 0 <= score <= 1:
            raise InputError(f"a detector gave the score {self.score}: it has to be 0..1")
        if not math.isfinite(angle):
            raise InputError(f"a detector gave the angle {self.angle}: it has to be degrees")
        if points is not None and (
            len(points) != 5 or not all(math.isfinite(value) for pair in points for value in pair)
        ):
            raise InputError(
                f"a detector gave the landmarks {self.landmarks}: five points (x, y), or None"
            )
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "landmarks", points)
        object.__setattr__(self, "angle", angle)


#: uint8 RGB (H, W, 3) -> its faces. Threads call it at the same time.
Detector: TypeAlias = Callable[[NDArray[np.uint8]], Sequence[Detection]]


def checked(found: Sequence[Detection]) -> list[Detection]:
    """What a detector gave, where it is a list of detections."""
    if not isinstance(found, list | tuple) or not all(isinstance(one, Detection) for one in found):
        raise InputError(f"a detector has to give a list of mien.Detection, not {found!r:.80}")
    return list(found)


def whole_picture(picture: NDArray[np.uint8]) -> list[Detection]:
    """The detector "none": the picture is one face, cut out already."""
    height, width = picture.shape[:2]
    return [Detection((0, 0, width, height))]


def crop(
    picture: NDArray[np.uint8], face: Detection, rule: CropRule, spec: InputSpec
) -> NDArray[np.uint8]:
    """What a network is shown of a face.

    A square around the middle of the box (of the network's own proportions, where those are not
    square), its height the box's longer side and the rule's margins. Pixels are averaged where it
    shrinks and interpolated bilinearly where it grows; beyond the picture its border goes on.

    Args:
        picture: uint8 RGB (H, W, 3).
        face: where the face is.
        rule: margin, shift and alignment.
        spec: the network's input; one channel is luma (Rec. 601).

    Returns:
        uint8 (C, h, w), `spec.shape`.

    Raises:
        InputError: for a face wholly outside of the picture.
    """
    return _sampled(picture, *_rectangle(face, rule, spec), spec)


def to_crop(face: Detection, rule: CropRule, spec: InputSpec) -> NDArray[np.float64]:
    """float64 (2, 3), takes a pixel's (x, y) in the picture to the one of `crop` that shows the same place."""
    centre, size, turn = _rectangle(face, rule, spec)
    target = np.array([spec.width, spec.height])
    back = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    matrix = back * (target / size)[:, None]
    return np.column_stack([matrix, matrix @ (0.5 - centre) + target / 2 - 0.5])


def ready_to_crop(size: tuple[int, int], spec: InputSpec) -> NDArray[np.float64]:
    """`to_crop` of a picture of (width, height) that is a face: see `ready_crop`."""
    across, down = spec.width / size[0], spec.height / size[1]
    return np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5]])


def _rectangle(
    face: Detection, rule: CropRule, spec: InputSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """What `crop` cuts out: its centre (x, y), its size (width, height) in pixels, its turn in radians."""
    x, y, width, height = face.box
    longer = max(width, height)
    turn = math.radians(angle_of(face, rule))
    down = np.array([-math.sin(turn), math.cos(turn)])
    centre = np.array([x + width / 2, y + height / 2]) + rule.shift_y * longer * down
    side = crop_side(face, rule)
    return centre, np.array([side * spec.width / spec.height, side]), turn


def angle_of(face: Detection, rule: CropRule) -> float:
    """Degrees by which a face is turned clockwise, and its crop levelled: -180..180."""
    if rule.align and face.landmarks is not None:
        (right_x, right_y), (left_x, left_y) = face.landmarks[:2]
        return math.degrees(math.atan2(left_y - right_y, left_x - right_x))
    return math.remainder(face.angle, 360)


def scaled(face: Detection, scale: tuple[float, float]) -> Detection:
    """A face in pixels of the same picture, so many times as wide and as high."""
    across, down = scale
    x, y, width, height = face.box
    points = face.landmarks and tuple((x * across, y * down) for x, y in face.landmarks)
    box = (x * across, y * down, width * across, height * down)
    return replace(face, box=box, landmarks=points)


def crop_side(face: Detection, rule: CropRule) -> float:
    """The height of what `crop` cuts out, in pixels of the picture."""
    return max(face.box[2:]) * (1 + 2 * rule.margin)


def crops(
    picture: NDArray[np.uint8], faces: Sequence[Detection], rule: CropRule, spec: InputSpec
) -> NDArray[np.uint8]:
    """`crop` of each face of a picture: uint8 (N, C, h, w); N may be 0."""
    cut = np.empty((len(faces), *spec.shape), np.uint8)
    for index, face in enumerate(faces):
        cut[index] = crop(picture, face, rule, spec)
    return cut


def _sampled(
    picture: NDArray[np.uint8],
    centre: NDArray[np.float64],
    size: NDArray[np.float64],
    turn: float,
    spec: InputSpec,
) -> NDArray[np.uint8]:
    """The rectangle of a size (width, height) around a centre, turned by radians, as `spec` says."""
    turning = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    # Only what the rectangle covers is touched, and a pixel or two around it.
    reach = np.abs(turning) @ (size / 2)
    limits = np.array(picture.shape[1::-1])
    first = np.clip(np.floor(centre - reach) - 2, 0, limits).astype(int)
    last = np.clip(np.ceil(centre + reach) + 2, 0, limits).astype(int)
    if (centre + reach <= 0).any() or (centre - reach >= limits).any():
        raise InputError(
            f"a detector gave a face around ({centre[0]:g}, {centre[1]:g}): outside of the picture "
            f"of {limits[0]} x {limits[1]} pixels"
        )
    region: NDArray[Any] = picture[first[1] : last[1], first[0] : last[0]]
    if spec.channels == 1:
        region = cv2.cvtColor(region, cv2.COLOR_RGB2GRAY)
    centre = centre - first
    target = np.array([spec.width, spec.height])
    points = np.maximum(np.ceil(size / target), 1)
    shrink = np.ones(2)
    if (points > _MOST_POINTS).any():
        # Far too many pixels: average whole blocks first.
        extent = np.array(region.shape[1::-1])
        blocks = np.maximum(points // (_MOST_POINTS // 2), 1)
        small = np.maximum(np.round(extent / blocks), 1).astype(int)
        region = cv2.resize(region, small.tolist(), interpolation=cv2.INTER_AREA)
        shrink = small / extent
        points = np.minimum(np.ceil(size * shrink / target), _MOST_POINTS)
        points = np.maximum(points, 1)
    grid = (target * points).astype(int)
    # Grid point (i, j) looks at: centre + turning @ ((i, j) + 1/2 - grid / 2) * step - 1/2.
    step = size / grid
    matrix = shrink[:, None] * turning * step
    origin = shrink * (centre + turning @ ((0.5 - grid / 2) * step)) - 0.5
    looked = cv2.warpAffine(
        region.astype(np.float32),  # rounded once, in the end
        np.column_stack([matrix, origin]),
        grid.tolist(),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if (grid != target).any():
        looked = cv2.resize(looked, target.tolist(), interpolation=cv2.INTER_AREA)
    channels_first = looked[None] if looked.ndim == 2 else looked.transpose(2, 0, 1)
    return np.ascontiguousarray(np.rint(channels_first).clip(0, 255), np.uint8)
