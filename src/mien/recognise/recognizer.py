"""One call that recognises: a picture in, its faces and their expressions out."""

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
from mien.errors import InputError, extra_required
from mien.expressions import Expressions
from mien.recognise import detect, record
from mien.recognise.detect import Box, Detection, Detector
from mien.recognise.detectors import READY, USUAL, for_films, open_detector, with_size
from mien.recognise.doubt import Reason, bad_picture, improbable
from mien.recognise.draw import surely
from mien.recognise.explain import hidden_parts
from mien.recognise.explained import Explanation, painted_photo
from mien.recognise.model import FaceModel
from mien.recognise.naming import find_model
from mien.recognise.pictures import Picture, in_colour, read_photo
from mien.recognise.showing import Origin, Shown, cut, photo_of
from mien.recognise.yunet import Looked, YuNet
from mien.resize import ready_crop

#: The types of a record's columns in a data frame.
_PANDAS = {"double": float, "bool": bool, "string": str}
#: How far a face that is found again may be from where it was, as a share of its side.
_SAME_FACE = 0.2
_ANOTHER_PICTURE = "the picture is not the one that this face was found in: ask anew"
#: Several pictures, recognised together.
Pictures = list[Picture] | tuple[Picture, ...]


class Model(Protocol):
    """What a recogniser asks: a `FaceModel`, or anything else that answers like one."""

    @property
    def card(self) -> ModelCard: ...
    def __call__(self, faces_NCHW: NDArray[np.uint8], /) -> NDArray[np.float32]: ...
    def features(self, faces_NCHW: NDArray[np.uint8], /) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Face:
    """A face and its expression.

    Attributes:
        box: (x, y, width, height) in pixels of the upright picture, within its borders.
        detection_score: how sure the detector is that this is a face, 0..1.
        expression: the most probable.
        probability: its probability, 0..1, calibrated: of answers with 0.8, about 80 % are right
            on faces like those that it was fitted on.
        probabilities: expression -> 0..1, summing to 1, in the model's order.
        why_uncertain: the limit of the model's that spoke: `size`, `spread`, `turn` or
            `detection_score` where the picture of the face is too bad to tell by (see
            `mien.card.Limits`), `probability` where that is below the threshold; None where it is sure.
        angle: degrees by which the face is turned clockwise in the picture, -180..180; what the
            network is shown is turned back by it.
        origin: the picture, for `crop`; None in copies that went to another process.
    """

    box: Box
    detection_score: float
    expression: str
    probability: float
    probabilities: dict[str, float] = field(hash=False)
    why_uncertain: Reason | None = None
    angle: float = 0.0
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        x, y, width, height = (round(side) for side in self.box)
        doubt = "?" if self.uncertain else ""
        return f"<Face {self.expression}{doubt} {surely(self)}, {width} x {height} at {x}, {y}>"

    def crop(self, margin: float = 0.2) -> NDArray[np.uint8]:
        """The face cut out of its picture: uint8 RGB (h, w, 3).

        Args:
            margin: how much around the box, as a share of its sides.

        Raises:
            InputError: where the picture is not there any more, for a margin below 0.
        """
        return cut(photo_of(self.origin), self.box, margin)

    def explain(self) -> Explanation:
        """Which pixels spoke for the answer and which against it, over the photo; hundreds of looks by the network.

        Raises:
            InputError: where the picture is not there any more, or was not kept.
        """
        if self.origin is None or self.origin.recognizer is None:
            raise InputError(
                "the recogniser is not kept with this face: ask anew, Recognizer().recognize(picture)[0].explain()"
            )
        explanation: Explanation = self.origin.recognizer.explained(self, self.origin)
        return explanation

    @property
    def uncertain(self) -> bool:
        """Better say nothing: `why_uncertain` says why."""
        return self.why_uncertain is not None

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """The k most probable expressions with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[: max(0, k)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return record.as_dict(self)


class Faces(list[Face], Shown):
    """The faces of one picture, from left to right. None is an answer, too.

    It shows itself: `plot()`, `save(path)`, `show()`, and as a cell's last line in a notebook.
    """

    def __init__(
        self,
        found: Iterable[Face],
        *,
        size: tuple[int, int],
        expressions: Expressions,
        looked: Looked | None = None,
    ) -> None:
        """`size`: the picture's (width, height) in pixels; `looked`: how closely it was looked at, if known."""
        super().__init__(found)
        self.size = size
        self.looked = looked
        self.expressions = expressions
        self.origin: Origin | None = None

    def __repr__(self) -> str:
        width, height = self.size
        return f"<Faces: {len(self)} in {width} x {height}{': ' * bool(self)}{', '.join(map(_told, self))}>"

    def _faces(self) -> Faces:
        return self

    def seen_in(self, origin: Origin) -> Faces:
        """The same faces, which know their picture."""
        self[:] = [replace(face, origin=origin) for face in self]
        self.origin = origin
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        width, height = self.size
        return {
            "width": width,
            "height": height,
            "looked_at": None if self.looked is None else asdict(self.looked),
            "faces": [face.to_dict() for face in self],
        }

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, a row a face: box, scores, and a column of probabilities for each expression."""
        with extra_required("data", "a data frame"):
            import pandas as pd
        kinds = record.columns(without="track_id") | dict.fromkeys(self.expressions, "double")
        rows = [{**record.as_cells(face), **face.probabilities} for face in self]
        frame = pd.DataFrame(rows, columns=list(kinds))
        # The same types with and without a face, so that frames can be joined.
        typed = frame.astype({name: _PANDAS[kind] for name, kind in kinds.items()})
        return typed.where(frame.notna())  # pandas 2 makes None a text


@dataclass(frozen=True)
class Seen:
    """What was found in a picture, and what the network is shown of it.

    Attributes:
        size: the picture's (width, height) in pixels.
        detections: the N faces, from left to right.
        crops: uint8 (N, C, H, W), in their order.
        doubts: why no answer to it can be sure, of each; None where nothing speaks against one.
        looked: how closely it was looked at; None where the detector does not say.
    """

    size: tuple[int, int]
    detections: list[Detection]
    crops: NDArray[np.uint8]
    doubts: list[Reason | None]
    looked: Looked | None = None


class Recognizer:
    """Finds the faces of pictures and tells their expressions, offline, with no torch.

    >>> faces = Recognizer().recognize("photo.jpg")  # doctest: +SKIP
    >>> [(face.expression, face.probability) for face in faces]  # doctest: +SKIP
    [('happy', 0.93)]

    Threads may share one. A detector of one's own is called by all of them at the same time.
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
            device: where the network computes: `cpu`, `cuda`, `cuda:N`, `auto`.
            threads: how many compute, of the network and of YuNet; None is one a core.
            detector: `yunet`, a `YuNet` with settings of one's own, `none` where each picture is a
                face cut out already, or a function from uint8 RGB (H, W, 3) to `Detection`s.
            size: at which `YuNet` looks for faces; it says what is usual.
            max_pixels: larger pictures are refused before they are decoded.

        Raises:
            InputError: for a name that means no model, a file that is none of ours, an unknown device or
                detector.
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

    @property
    def card(self) -> ModelCard:
        """What the model says of itself."""
        return self.model.card

    def with_size(self, size: int) -> Recognizer:
        """The same model, faces looked for at another size; InputError where the detector takes none."""
        other = copy.copy(self)
        other._detector = with_size(self._detector, size)
        return other

    def for_films(self) -> Recognizer:
        """The same model, each frame looked at once and upright: see `YuNet`'s `thorough`."""
        other = copy.copy(self)
        other._detector = for_films(self._detector)
        return other

    @overload
    def recognize(self, pictures: Pictures, *, bgr: bool = False) -> list[Faces]: ...
    @overload
    def recognize(self, pictures: Picture, *, bgr: bool = False) -> Faces: ...
    def recognize(self, pictures: Picture | Pictures, *, bgr: bool = False) -> Faces | list[Faces]:
        """The faces of a picture, or of each in a list: these go through the network together.

        Args:
            pictures: a path, the bytes of a file, a Pillow image, an RGB array as `read_picture`
                says; or a list of these.
            bgr: the colours of arrays are in OpenCV's order.

        Raises:
            InputError: for what is not a picture; of a list it says which.
        """
        several = pictures if isinstance(pictures, list | tuple) else [pictures]
        answers = [
            faces.seen_in(Origin(picture, bgr=bgr, max_pixels=self._max_pixels, recognizer=self))
            for faces, picture in zip(self.answer(self._seen(pictures, bgr)), several, strict=True)
        ]
        return answers if isinstance(pictures, list | tuple) else answers[0]

    @overload
    def features(self, pictures: Pictures, *, bgr: bool = False) -> list[NDArray[np.float32]]: ...
    @overload
    def features(self, pictures: Picture, *, bgr: bool = False) -> NDArray[np.float32]: ...
    def features(
        self, pictures: Picture | Pictures, *, bgr: bool = False
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """float32 (N, D) for the N faces of a picture: what the network's last layer is given.

        For those who fit a head of their own; a list of pictures gives a list.
        """
        rows = _asked(self.model.features, self._seen(pictures, bgr))
        return rows if isinstance(pictures, list | tuple) else rows[0]

    def explain(
        self, picture: Picture, *, bgr: bool = False
    ) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        """Which pixels of each face mattered: see `explain.hidden_parts`.

        Returns:
            For each face what the network was shown, uint8 (C, H, W), and a map, float32 (H, W).
        """
        seen = self.look(picture, bgr=bgr)
        return [(crop, hidden_parts(self.model, crop)) for crop in seen.crops]

    def explained(self, face: Face, origin: Origin) -> Explanation:
        """What `Face.explain` gives; `face` is one of this recogniser's, found in `origin`."""
        photo = origin.photo()
        pixels = in_colour(photo.pixels)
        if origin.seen is None:
            origin.seen = self.look(pixels)
        seen: Seen = origin.seen
        part = photo.read_part(face.box)
        size = (pixels.shape[1], pixels.shape[0])
        apart = [np.abs(np.subtract(_within(one.box, size), part)).max() for one in seen.detections]
        which = int(np.argmin(apart)) if apart else -1
        if which < 0 or apart[which] > _SAME_FACE * max(part[2:]):
            raise InputError(_ANOTHER_PICTURE)
        crop, found = seen.crops[which], seen.detections[which]
        if not np.array_equal(self._cut(pixels, [found])[0], crop):  # a file that was written over
            raise InputError(_ANOTHER_PICTURE)
        mattered = hidden_parts(self.model, crop)
        spec = self.card.input
        to_crop = (
            detect.ready_to_crop(size, spec)
            if self._ready
            else detect.to_crop(found, self.card.crop, spec)
        )
        legend = (
            f"red: for {face.expression}",
            "blue: against",
            f"strongest: hiding it moves {face.probability:.0%} by {100 * np.abs(mattered).max():.0f} points",
        )
        picture = painted_photo(pixels, mattered, to_crop, legend)
        return Explanation(face.expression, face.probability, crop, mattered, picture, origin)

    def look(self, picture: Picture, *, bgr: bool = False) -> Seen:
        """Find and cut out the faces of a picture, without asking the network."""
        photo = read_photo(picture, bgr=bgr, max_pixels=self._max_pixels)
        # Most ready crops are gray, as most networks: nothing has to become RGB on the way.
        pixels = photo.pixels if self._ready else in_colour(photo.pixels)
        read = (pixels.shape[1], pixels.shape[0])
        found = sorted(detect.checked(self._detector(pixels)), key=_place)
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
        if read != photo.size:  # a very large JPEG
            scale = photo.size[0] / read[0], photo.size[1] / read[1]
            found = [detect.scaled(one, scale) for one in found]
            looked = looked and Looked(looked.size, round(looked.smallest_face * max(scale)))
        return Seen(photo.size, found, crops, doubts, looked)

    def _cut(self, pixels: NDArray[np.uint8], found: Sequence[Detection]) -> NDArray[np.uint8]:
        """What the network is shown of the faces of a picture: uint8 (N, C, H, W)."""
        if self._ready:
            return ready_crop(pixels, self.card.input)
        return detect.crops(pixels, found, self.card.crop, self.card.input)

    def answer(self, seen: Sequence[Seen]) -> list[Faces]:
        """What the network says of the faces that were found in some pictures, all at once."""
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
            box=_within(found.box, size),
            detection_score=found.score,
            expression=expression,
            probability=named[expression],
            probabilities=named,
            why_uncertain=doubt or improbable(named[expression], self.card.uncertain_below),
            angle=detect.angle_of(found, self.card.crop),
        )


def _told(face: Face) -> str:
    return f"{face.expression}{'?' if face.uncertain else ''} {surely(face)}"


def _place(found: Detection) -> tuple[float, float]:
    """What sorts faces from left to right, and those of one column from top to bottom."""
    x, y, width, _ = found.box
    return x + width / 2, y


def _asked(
    ask: Callable[[NDArray[np.uint8]], NDArray[np.float32]], seen: Sequence[Seen]
) -> list[NDArray[np.float32]]:
    """Ask about the faces of all pictures at once; to each picture its rows."""
    if not seen:
        return []
    rows = ask(np.concatenate([one.crops for one in seen]))
    return np.split(rows, np.cumsum([len(one.crops) for one in seen])[:-1])


def _within(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in the picture."""
    x, y, width, height = box
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[0]), x + width), min(float(size[1]), y + height)
    return left, top, max(0.0, right - left), max(0.0, bottom - top)
