"""Detected faces, and the crops of them that a network takes as input."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.decoding import Decoded
from mien.errors import InputError
from mien.input_spec import InputSpec

if TYPE_CHECKING:
    from mien.card import CropRule

Box: TypeAlias = tuple[float, float, float, float]
#: Right and left eye (the person's), tip of the nose, right and left corner of the mouth: (x, y).
Landmarks: TypeAlias = tuple[tuple[float, float], ...]

#: When shrinking: most sample points on each axis that are averaged for one pixel of a crop.
_MOST_POINTS = 16
_A_BOX = "give (x, y, width, height) in pixels, width and height above 0"


@dataclass(frozen=True)
class Detection:
    """A face that a detector found.

    Attributes:
        box: (x, y, width, height) in pixels of the picture; x, y is the upper left corner. It may
            reach beyond the picture's border.
        score: the detector's confidence, 0..1.
        landmarks: five points (x, y) in the order of `Landmarks`, or None if the detector gives none.
        angle: degrees by which the face is turned clockwise in the picture, as the detector estimates
            it; if there are landmarks, the line of the eyes is used instead.

    Raises:
        InputError: a value is not a finite number, out of range or of another shape.

    >>> Detection(box=(10, 20, 64, 64), score=0.9).box
    (10.0, 20.0, 64.0, 64.0)
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


#: uint8 RGB (H, W, 3) -> its faces. Has to be thread-safe.
Detector: TypeAlias = Callable[[NDArray[np.uint8]], Sequence[Detection]]


def checked(found: Sequence[Detection]) -> list[Detection]:
    """Check that a detector's answer is a list or tuple of `Detection`, and return it as a list.

    Raises:
        InputError: it is anything else.
    """
    if not isinstance(found, list | tuple) or not all(isinstance(one, Detection) for one in found):
        raise InputError(f"a detector has to give a list of mien.Detection, not {found!r:.80}")
    return list(found)


def whole_picture(picture: NDArray[np.uint8]) -> list[Detection]:
    """The detector "none": takes the whole picture for one face that is already cropped."""
    height, width = picture.shape[:2]
    return [Detection((0, 0, width, height))]


@dataclass(frozen=True)
class Given:
    """The detector for faces whose places the caller knows: it gives them in the caller's order."""

    faces: list[Detection]

    def __call__(self, _picture: NDArray[np.uint8]) -> list[Detection]:
        return self.faces


def at_boxes(boxes: Sequence[Box], photo: Decoded) -> Given:
    """Convert boxes in pixels of a photo's file to faces in the pixels that were read.

    Raises:
        InputError: a value is no box, or more than half of it lies outside of the photo.
    """
    faces = []
    for number, box in enumerate(boxes):
        try:
            given = Detection(box)
        except InputError as error:
            raise InputError(f"boxes[{number}] is {box!r:.80}; {_A_BOX}") from error
        if 2 * _area(within(given.box, photo.size)) < _area(given.box):
            width, height = photo.size
            raise InputError(
                f"boxes[{number}] is {box!r:.80}, mostly outside of the picture of {width} x {height} pixels; "
                f"{_A_BOX}"
            )
        faces.append(replace(given, box=photo.read_part(given.box)))
    return Given(faces)


def _area(box: Box) -> float:
    return box[2] * box[3]


def within(box: Box, size: tuple[int, int]) -> Box:
    """Clip a box to a picture of this (width, height)."""
    x, y, width, height = box
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    return left, top, max(0.0, right - left), max(0.0, bottom - top)


def crop(
    picture: NDArray[np.uint8], face: Detection, rule: CropRule, spec: InputSpec
) -> NDArray[np.uint8]:
    """Cut a face out of a picture as the network's input.

    The crop is a square around the box's centre (a rectangle if the network's input is one). Its height
    is the box's longer side plus the rule's margins. Pixels are averaged if it shrinks and interpolated
    bilinearly if it grows; beyond the picture its border pixels are repeated.

    Args:
        picture: uint8 RGB (H, W, 3).
        face: the face to cut out.
        rule: margin, shift and alignment.
        spec: the network's input; one channel is luma (Rec. 601).

    Returns:
        uint8 (C, h, w), `spec.shape`.

    Raises:
        InputError: the face lies wholly outside the picture.
    """
    return _sampled(picture, *_rectangle(face, rule, spec), spec)


def to_crop(face: Detection, rule: CropRule, spec: InputSpec) -> NDArray[np.float64]:
    """The affine matrix of `crop`, float64 (2, 3): from (x, y) in the picture to (x, y) in the crop, in pixels."""
    centre, size, turn = _rectangle(face, rule, spec)
    target = np.array([spec.width, spec.height])
    back = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    matrix = back * (target / size)[:, None]
    return np.column_stack([matrix, matrix @ (0.5 - centre) + target / 2 - 0.5])


def ready_to_crop(size: tuple[int, int], spec: InputSpec) -> NDArray[np.float64]:
    """The same as `to_crop` for a whole picture of `size` (width, height) that is a face: see `ready_crop`."""
    side = max(size)
    left, top = ((side - length) // 2 for length in size)
    across, down = spec.width / side, spec.height / side
    return np.array([[across, 0, (left + 0.5) * across - 0.5], [0, down, (top + 0.5) * down - 0.5]])


def _rectangle(
    face: Detection, rule: CropRule, spec: InputSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The rectangle of `crop`: centre (x, y) and size (width, height) in pixels, clockwise turn in radians."""
    x, y, width, height = face.box
    longer = max(width, height)
    turn = math.radians(angle_of(face, rule))
    down = np.array([-math.sin(turn), math.cos(turn)])
    centre = np.array([x + width / 2, y + height / 2]) + rule.shift_y * longer * down
    side = crop_side(face, rule)
    return centre, np.array([side * spec.width / spec.height, side]), turn


def angle_of(face: Detection, rule: CropRule) -> float:
    """Degrees by which a face is turned clockwise, -180..180; `crop` turns it back by as much."""
    if rule.align and face.landmarks is not None:
        (right_x, right_y), (left_x, left_y) = face.landmarks[:2]
        return math.degrees(math.atan2(left_y - right_y, left_x - right_x))
    return math.remainder(face.angle, 360)


def scaled(face: Detection, scale: tuple[float, float]) -> Detection:
    """A face in pixels of a resized picture; `scale` is the factor of its width and of its height."""
    across, down = scale
    x, y, width, height = face.box
    points = face.landmarks and tuple((x * across, y * down) for x, y in face.landmarks)
    box = (x * across, y * down, width * across, height * down)
    return replace(face, box=box, landmarks=points)


def crop_side(face: Detection, rule: CropRule) -> float:
    """The height of the rectangle that `crop` cuts out, in pixels of the picture."""
    return max(face.box[2:]) * (1 + 2 * rule.margin)


def crops(
    picture: NDArray[np.uint8], faces: Sequence[Detection], rule: CropRule, spec: InputSpec
) -> NDArray[np.uint8]:
    """Apply `crop` to each face of a picture: uint8 (N, C, h, w); N may be 0."""
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
    """Sample a rectangle of `size` (width, height) around a centre, turned by radians, at the size of `spec`."""
    turning = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    # Work on the part of the picture that the rectangle covers, with two pixels around it for interpolation.
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
        # Averaging that many points for each pixel is slow: average whole blocks of the picture first.
        extent = np.array(region.shape[1::-1])
        blocks = np.maximum(points // (_MOST_POINTS // 2), 1)
        small = np.maximum(np.round(extent / blocks), 1).astype(int)
        region = cv2.resize(region, small.tolist(), interpolation=cv2.INTER_AREA)
        shrink = small / extent
        points = np.minimum(np.ceil(size * shrink / target), _MOST_POINTS)
        points = np.maximum(points, 1)
    grid = (target * points).astype(int)
    # Grid point (i, j) samples the picture at: centre + turning @ ((i, j) + 1/2 - grid / 2) * step - 1/2.
    step = size / grid
    matrix = shrink[:, None] * turning * step
    origin = shrink * (centre + turning @ ((0.5 - grid / 2) * step)) - 0.5
    looked = cv2.warpAffine(
        region.astype(np.float32),  # so that levels are rounded only once, at the end
        np.column_stack([matrix, origin]),
        grid.tolist(),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if (grid != target).any():
        looked = cv2.resize(looked, target.tolist(), interpolation=cv2.INTER_AREA)
    channels_first = looked[None] if looked.ndim == 2 else looked.transpose(2, 0, 1)
    return np.ascontiguousarray(np.rint(channels_first).clip(0, 255), np.uint8)
