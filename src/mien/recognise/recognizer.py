"""Recognition in one call: find the faces of pictures and classify their expressions."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.decoding import MAX_PIXELS
from mien.errors import InputError, extra_required, quantity, visible
from mien.expressions import Expressions
from mien.recognise import detect, record
from mien.recognise.detect import Box, Detection, Detector
from mien.recognise.detectors import READY, USUAL, for_films, open_detector, with_size
from mien.recognise.doubt import Reason, bad_picture, improbable
from mien.recognise.explain import Explanation, hidden_parts, painted_photo
from mien.recognise.model import FaceModel
from mien.recognise.naming import find_model
from mien.recognise.pictures import Picture, in_colour, read_photo
from mien.recognise.showing import Origin, Shown, cut, photo_of
from mien.recognise.track import FaceLike, told
from mien.recognise.yunet import Looked, YuNet
from mien.resize import ready_crop

#: Type of a record's column -> type in a data frame.
_PANDAS = {"double": float, "bool": bool, "string": str}
#: Largest change of the box of a face that is detected a second time, as a share of its longer side.
_SAME_FACE = 0.2
_ANOTHER_PICTURE = "the picture is not the one that this face was found in: ask anew"
#: Several pictures that go through the network together.
Pictures = list[Picture] | tuple[Picture, ...]


class Model(Protocol):
    """The network of a recogniser: a `FaceModel`, or any object with the same methods."""

    @property
    def card(self) -> ModelCard: ...
    def __call__(self, faces_NCHW: NDArray[np.uint8], /) -> NDArray[np.float32]: ...
    def features(self, faces_NCHW: NDArray[np.uint8], /) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Face(FaceLike):
    """A face and its expression.

    Attributes:
        box: (x, y, width, height) in pixels of the upright picture, within its borders.
        detection_score: score of the detector, 0..1.
        expression: the most probable expression.
        probability: its probability, 0..1, calibrated: of answers with 0.8, about 80 % are right
            on faces like those of the calibration.
        probabilities: expression -> 0..1, summing to 1, in the model's order.
        why_uncertain: the reason if the answer is uncertain: `size`, `spread`, `detail`, `noise`, `turn` or
            `detection_score` if the picture of the face is too bad (see `mien.card.Limits`), `probability` if
            that is below the model's threshold. None if the answer is sure.
        angle: rotation of the face in the picture, -180..180 degrees clockwise; the network's input is
            rotated back by it. YuNet's landmarks make it too small for a head that is rolled (measured with one
            photo): 9 to 23 of 30 degrees if the face has at least 120 pixels where it is searched, 2 to 6 up to 80.
        origin: the picture, for `crop`; None in copies that went to another process.
    """

    detection_score: float
    probabilities: dict[str, float] = field(hash=False)
    angle: float = 0.0
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        x, y, width, height = (round(side) for side in self.box)
        return f"<Face {told(self)}, {width} x {height} at {x}, {y}>"

    def crop(self, margin: float = 0.2) -> NDArray[np.uint8]:
        """Cut the face out of its picture.

        Args:
            margin: share of the box's width and height that is added on each side, 0 or more.

        Returns:
            uint8 RGB (h, w, 3).

        Raises:
            InputError: the picture was not kept or its file is gone, or the margin is below 0.
        """
        return cut(photo_of(self.origin), self.box, margin)

    def explain(self) -> Explanation:
        """Find the pixels that speak for the answer and those against it, by hundreds of passes of the network.

        Returns:
            The map, and the photo coloured by it.

        Raises:
            InputError: the picture was not kept, its file is gone, or it is another picture by now.
        """
        if self.origin is None or self.origin.recognizer is None:
            raise InputError(
                "the recogniser is not kept with this face: ask anew, Recognizer().recognize(picture)[0].explain()"
            )
        explanation: Explanation = self.origin.recognizer.explained(self, self.origin)
        return explanation

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """The k most probable expressions with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[: max(0, k)]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for JSON."""
        return record.as_dict(self)


class Faces(list[Face], Shown):
    """The faces of one picture, from left to right; an empty list if there is no face.

    Display with `plot()`, `save(path)`, `show()`, or as the last line of a notebook's cell.
    """

    def __init__(
        self,
        found: Iterable[Face],
        *,
        size: tuple[int, int],
        expressions: Expressions,
        looked: Looked | None = None,
    ) -> None:
        """Collect the faces of a picture.

        Args:
            found: the faces, from left to right.
            size: (width, height) of the picture in pixels.
            expressions: the expressions that the model knows.
            looked: the resolution at which the picture was searched, if known.
        """
        super().__init__(found)
        self.size = size
        self.looked = looked
        self.expressions = expressions
        self.origin: Origin | None = None

    def __repr__(self) -> str:
        width, height = self.size
        return f"<Faces: {len(self)} in {width} x {height}{': ' * bool(self)}{', '.join(map(told, self))}>"

    def _faces(self) -> Faces:
        return self

    def seen_in(self, origin: Origin) -> Faces:
        """Attach their picture to the faces, in place; returns self."""
        self[:] = [replace(face, origin=origin) for face in self]
        self.origin = origin
        return self

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for JSON."""
        width, height = self.size
        return {
            "width": width,
            "height": height,
            "looked_at": None if self.looked is None else asdict(self.looked),
            "faces": [face.to_dict() for face in self],
        }

    def to_dataframe(self) -> Any:
        """Convert to a pandas DataFrame: a row per face with box and scores, and a column per expression.

        Raises:
            InputError: an expression has the name of another column.
            MissingExtraError: pandas is not installed; the message has the command to install it.
        """
        with extra_required("data", "a data frame"):
            import pandas as pd
        kinds = record.with_figures(record.columns(without="track_id"), self.expressions)
        rows = [{**record.as_cells(face), **face.probabilities} for face in self]
        frame = pd.DataFrame(rows, columns=list(kinds))
        # An empty frame gets the same types, so that frames can be joined.
        typed = frame.astype({name: _PANDAS[kind] for name, kind in kinds.items()})
        return typed.where(frame.notna())  # astype turns None into text in pandas 2


@dataclass(frozen=True)
class Seen:
    """The detected faces of a picture, and the network's inputs.

    Attributes:
        size: (width, height) of the picture in pixels.
        detections: the N faces, from left to right.
        crops: the network's inputs, uint8 (N, C, H, W), in the same order.
        doubts: for each face the reason why no answer can be sure, or None.
        looked: the resolution at which the picture was searched; None if the detector does not tell it.
    """

    size: tuple[int, int]
    detections: list[Detection]
    crops: NDArray[np.uint8]
    doubts: list[Reason | None]
    looked: Looked | None = None


class Recognizer:
    """Finds the faces of pictures and classifies their expressions, offline and without torch.

    >>> faces = Recognizer().recognize("photo.jpg")  # doctest: +SKIP
    >>> [(face.expression, face.probability) for face in faces]  # doctest: +SKIP
    [('happy', 0.93)]

    Threads may share a recogniser. A detector given as a function is then called by several of them at once.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | Model | None = None,
        *,
        device: str = "cpu",
        threads: int | None = None,
        detector: str | Detector = USUAL,
        size: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Open a model and a detector.

        Args:
            model: the name of a model (`mien-people`, the one inside the package and the default), a model
                file or its content, a run folder (exported once, into the cache), or an address
                `https://...#sha256=...` (fetched once, into the cache); or a FaceModel.
            device: device of the network: `cpu`, `cuda`, `cuda:N`, `auto`.
            threads: number of threads of the network and of YuNet; None takes one per core.
            detector: `yunet`, a `YuNet` with other settings, `none` if each picture is a face that is already
                cropped (one that is not square is made so by repeating its border pixels), or a function from
                uint8 RGB (H, W, 3) to `Detection`s.
            size: longer side in pixels at which `YuNet` searches, 16..4096; `YuNet` documents the default.
            max_pixels: larger pictures are refused before they are decoded.

        Raises:
            InputError: no model of this name, a file that is not a model of mien, an unknown device or
                detector, or a size out of range.
        """
        where = None
        if model is None or isinstance(model, str | os.PathLike):
            named = find_model(model, fetch=True)
            model, where = named.content, named.where
        if isinstance(model, bytes):
            model = FaceModel.open(model, device=device, threads=threads, where=where)
        self.model: Model = model
        self._ready = detector == READY
        self._detector = open_detector(detector, size=size, threads=threads)
        self._max_pixels = max_pixels

    def __repr__(self) -> str:
        return f"<Recognizer {visible(self.card.name)}: {', '.join(map(visible, self.card.expressions))}>"

    @property
    def card(self) -> ModelCard:
        """The card of the model: its expressions, input, limits and calibration."""
        return self.model.card

    def with_size(self, size: int) -> Recognizer:
        """Copy the recogniser with another size of detection; the model is shared.

        Args:
            size: longer side in pixels at which faces are searched.

        Raises:
            InputError: the detector takes no size, or the size is out of range.
        """
        other = copy.copy(self)
        other._detector = with_size(self._detector, size)
        return other

    def for_films(self) -> Recognizer:
        """Copy the recogniser for videos: each frame is searched once and upright, see `thorough` of `YuNet`."""
        other = copy.copy(self)
        other._detector = for_films(self._detector)
        return other

    @overload
    def recognize(self, pictures: Pictures, *, bgr: bool = False) -> list[Faces]: ...
    @overload
    def recognize(
        self, pictures: Picture, *, bgr: bool = False, boxes: Sequence[Box] | None = None
    ) -> Faces: ...
    def recognize(
        self,
        pictures: Picture | Pictures,
        *,
        bgr: bool = False,
        boxes: Sequence[Box] | None = None,
    ) -> Faces | list[Faces]:
        """Recognise the faces of one picture, or of several that go through the network together.

        Args:
            pictures: a path, the bytes of a file, a Pillow image or an RGB array, see `read_picture`; or a
                list or tuple of these.
            bgr: whether arrays have OpenCV's colour order (BGR).
            boxes: of one picture, the boxes of its faces, if you know them: no face is searched then. Each is
                (x, y, width, height) in pixels of the upright picture, from forehead to chin, and may reach
                beyond its border. The faces are taken as upright.

        Returns:
            The faces of the picture, from left to right, or in the order of `boxes`; for a list, a list in the
            same order.

        Raises:
            InputError: not a picture, or a damaged or too large one; for a list, the message has its number.
                Or a box is no box or lies outside, for the most part.
            MienError: ONNX Runtime fails, or the answers are not finite.
        """
        if boxes is not None:
            if isinstance(pictures, list | tuple):
                raise InputError("boxes belong to one picture: call recognize once for each")
            return self._recognized_at(boxes, pictures, bgr)
        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        answers = [
            faces.seen_in(Origin(picture, bgr=bgr, max_pixels=self._max_pixels, recognizer=self))
            for faces, picture in zip(self.answer(self._seen(pictures, bgr)), several, strict=True)
        ]
        return answers if isinstance(pictures, list | tuple) else answers[0]

    def _recognized_at(self, boxes: Sequence[Box], picture: Picture, bgr: bool) -> Faces:
        photo = read_photo(picture, bgr=bgr, max_pixels=self._max_pixels)
        other = copy.copy(self)
        other._detector, other._ready = detect.at_boxes(boxes, photo), False
        (faces,) = other.answer([other.look(photo)])
        origin = Origin(picture, bgr=bgr, max_pixels=self._max_pixels, recognizer=other)
        return faces.seen_in(origin)

    @overload
    def features(self, pictures: Pictures, *, bgr: bool = False) -> list[NDArray[np.float32]]: ...
    @overload
    def features(self, pictures: Picture, *, bgr: bool = False) -> NDArray[np.float32]: ...
    def features(
        self, pictures: Picture | Pictures, *, bgr: bool = False
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Compute the features of each face, the input of the network's last layer, to fit another head.

        Args:
            pictures: as for `recognize`.
            bgr: whether arrays have OpenCV's colour order (BGR).

        Returns:
            float32 (N, D) for the N faces of a picture; for a list, a list of these.

        Raises:
            InputError, MienError: as for `recognize`.
        """
        rows = _asked(self.model.features, self._seen(pictures, bgr))
        return rows if isinstance(pictures, list | tuple) else rows[0]

    def explained(self, face: Face, origin: Origin) -> Explanation:
        """Explain the answer of a face that this recogniser found in `origin`: see `Face.explain`.

        Raises:
            InputError: the picture is gone, or the face is not found in it again.
        """
        photo = origin.photo()
        pixels = in_colour(photo.pixels)
        if origin.seen is None:
            origin.seen = self.look(pixels)
        seen: Seen = origin.seen
        part = photo.read_part(face.box)
        size = (pixels.shape[1], pixels.shape[0])
        apart = [
            np.abs(np.subtract(detect.within(one.box, size), part)).max() for one in seen.detections
        ]
        which = int(np.argmin(apart)) if apart else -1
        if which < 0 or apart[which] > _SAME_FACE * max(part[2:]):
            raise InputError(_ANOTHER_PICTURE)
        crop, found = seen.crops[which], seen.detections[which]
        if not np.array_equal(self._cut(pixels, [found])[0], crop):  # the file was overwritten
            raise InputError(_ANOTHER_PICTURE)
        mattered = hidden_parts(self.model, crop)
        spec = self.card.input
        to_crop = (
            detect.ready_to_crop(size, spec)
            if self._ready
            else detect.to_crop(found, self.card.crop, spec)
        )
        points = round(100 * float(np.abs(mattered).max()))
        legend = (
            f"red: for {face.expression}",
            "blue: against",
            f"strongest: hiding it moves {face.probability:.0%} by {quantity(points, 'point')}",
        )
        picture = painted_photo(pixels, mattered, to_crop, legend)
        return Explanation(face.expression, face.probability, crop, mattered, picture, origin)

    def look(self, picture: Picture, *, bgr: bool = False) -> Seen:
        """Find and crop the faces of a picture, without classifying them.

        Args:
            picture: as for `recognize`.
            bgr: whether arrays have OpenCV's colour order (BGR).

        Raises:
            InputError: not a picture, or a damaged or too large one; or an invalid result of the detector.
        """
        photo = read_photo(picture, bgr=bgr, max_pixels=self._max_pixels)
        # Ready crops and networks are mostly gray, so a conversion to RGB would be wasted.
        pixels = photo.pixels if self._ready else in_colour(photo.pixels)
        read = (pixels.shape[1], pixels.shape[0])
        found = detect.checked(self._detector(pixels))
        if not isinstance(self._detector, detect.Given):
            found.sort(key=_place)
        crops = self._cut(pixels, found)
        sides = [
            float(min(read)) if self._ready else detect.crop_side(face, self.card.crop)
            for face in found
        ]
        looked = self._detector.looked(*read) if isinstance(self._detector, YuNet) else None
        doubts = [
            bad_picture(self.card.uncertain_beyond, face, crop, side, scored=looked is not None)
            for face, crop, side in zip(found, crops, sides, strict=True)
        ]
        if read != photo.size:  # a very large JPEG is decoded at a reduced size
            scale = photo.size[0] / read[0], photo.size[1] / read[1]
            found = [detect.scaled(one, scale) for one in found]
            looked = looked and Looked(looked.size, round(looked.smallest_face * max(scale)))
        return Seen(photo.size, found, crops, doubts, looked)

    def _cut(self, pixels: NDArray[np.uint8], found: Sequence[Detection]) -> NDArray[np.uint8]:
        """Crop the network's inputs out of a picture: uint8 (N, C, H, W)."""
        if self._ready:
            return ready_crop(pixels, self.card.input)
        return detect.crops(pixels, found, self.card.crop, self.card.input)

    def answer(self, seen: Sequence[Seen]) -> list[Faces]:
        """Classify the detected faces of several pictures in one call of the network."""
        return [
            Faces(
                map(self._face, one.detections, part, one.doubts, [one.size] * len(part)),
                size=one.size,
                expressions=self.card.expressions,
                looked=one.looked,
            )
            for one, part in zip(seen, _asked(self.model, seen), strict=True)
        ]

    def _seen(self, pictures: Picture | Pictures, bgr: bool) -> list[Seen]:
        if not isinstance(pictures, list | tuple):
            return [self.look(pictures, bgr=bgr)]
        seen = []
        for number, picture in enumerate(pictures, 1):
            try:
                seen.append(self.look(picture, bgr=bgr))
            except InputError as error:
                raise InputError(f"picture {number} of {len(pictures)}: {error}") from error
        return seen

    def _face(
        self,
        found: Detection,
        probabilities_K: NDArray[np.float32],
        doubt: Reason | None,
        size: tuple[int, int],
    ) -> Face:
        named = dict(zip(self.card.expressions, probabilities_K.tolist(), strict=True))
        expression = self.card.expressions[int(probabilities_K.argmax())]
        return Face(
            box=detect.within(found.box, size),
            detection_score=found.score,
            expression=expression,
            probability=named[expression],
            probabilities=named,
            why_uncertain=doubt or improbable(named[expression], self.card.uncertain_below),
            angle=detect.angle_of(found, self.card.crop),
        )


def _place(found: Detection) -> tuple[float, float]:
    """Sort key of faces: from left to right, and from top to bottom in one column."""
    x, y, width, _ = found.box
    return x + width / 2, y


def _asked(
    ask: Callable[[NDArray[np.uint8]], NDArray[np.float32]], seen: Sequence[Seen]
) -> list[NDArray[np.float32]]:
    """Call `ask` once with the crops of all pictures; split its rows by picture."""
    if not seen:
        return []
    rows = ask(np.concatenate([one.crops for one in seen]))
    return np.split(rows, np.cumsum([len(one.crops) for one in seen])[:-1])
