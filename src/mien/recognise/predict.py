"""One verb for all that can be recognised: photos, folders, videos, streams, cameras, arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast, overload

from mien.errors import InputError
from mien.recognise.detect import Detector
from mien.recognise.detectors import USUAL
from mien.recognise.film import follow_film, open_movie
from mien.recognise.media import Item, find, is_address, is_camera
from mien.recognise.pictures import Picture
from mien.recognise.recognizer import Model, Recognizer
from mien.recognise.rows import Row, row
from mien.recognise.showing import Origin, Shown
from mien.recognise.track import FaceLike

#: What can be recognised; an int is a camera.
Source: TypeAlias = Picture | int
Opened: TypeAlias = str | os.PathLike[str] | bytes | Model | Recognizer | None


@dataclass(frozen=True)
class Result(Shown):
    """The faces of a photo, or of one frame of what moves.

    It shows itself: `plot()`, `save(path)`, `show()`, and as a cell's last line in a notebook.

    Attributes:
        source: path, address, `camera 0`, or `picture 1` for the first array.
        frame: counts a movie's frames from 0; 0 for a photo.
        time_s: seconds from a movie's beginning; None for a photo.
        faces: the faces, from left to right; in a movie followed and smoothed, with a `track_id`.
        problem: a sentence if it could not be read, or a movie not to its end; then there are no faces.
        origin: the picture.
    """

    source: str
    frame: int
    time_s: float | None
    faces: Sequence[FaceLike]
    problem: str | None = None
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def _faces(self) -> Sequence[FaceLike]:
        return self.faces

    def rows(self) -> list[Row]:
        """A row a face, as `mien predict --csv` writes them."""
        return [row(self.source, self.frame, self.time_s, face) for face in self.faces]


@overload
def predict(
    source: Source | Sequence[Source],
    *,
    stream: Literal[True],
    model: Opened = ...,
    detector: str | Detector = ...,
    size: int | None = ...,
    device: str = ...,
    every: int | None = ...,
    bgr: bool = ...,
) -> Iterator[Result]: ...
@overload
def predict(
    source: Source | Sequence[Source],
    *,
    stream: Literal[False] = ...,
    model: Opened = ...,
    detector: str | Detector = ...,
    size: int | None = ...,
    device: str = ...,
    every: int | None = ...,
    bgr: bool = ...,
) -> list[Result]: ...
def predict(
    source: Source | Sequence[Source],
    *,
    stream: bool = False,
    model: Opened = None,
    detector: str | Detector = USUAL,
    size: int | None = None,
    device: str = "cpu",
    every: int | None = None,
    bgr: bool = False,
) -> Iterator[Result] | list[Result]:
    """The faces of whatever is given and their expressions, one result a photo or frame.

    A file that cannot be read does not end the others: its result has a `problem`. Where it is all
    that was given, that is raised.

    Args:
        source: the path of a photo or video, a folder (with all below), a pattern (`trip/**/*.jpg`),
            the address of a stream (`rtsp://...`), the number of a camera (0), an array, a Pillow
            image, the bytes of a file; or a list of these.
        stream: results come one at a time, in memory that does not grow; else they are gathered in a
            list. A camera or stream has no end, so it has to be asked for with `stream=True`.
        model: whatever `Recognizer` takes: a name, a file, a run folder, an address with its sha256; or a
            Recognizer that is used as it is. By default the model inside mien.
        detector, device: as `Recognizer` takes them.
        size: at which faces are looked for, as `Recognizer` takes it; of a given one, too.
        every: of a movie, faces are looked for in each so-many-th frame; by default ten a second.
        bgr: the colours of arrays are in OpenCV's order.

    Raises:
        InputError: for a path that is not there, a folder without photos or videos, a camera without
            `stream=True`; for the only thing given if it cannot be read.
    """
    given = cast(list[Source], list(source) if isinstance(source, list | tuple) else [source])
    if not stream:
        for one in given:
            if _endless(one):
                raise InputError(f"{one!s}: has no end; take results as they come: stream=True")
    if every is not None and every < 1:
        raise InputError(f"every {every}: 1 looks at each frame, 2 at every second one")
    for one in given:  # what is not there is said before anything is done
        if isinstance(one, str | os.PathLike):
            next(find([os.fspath(one)]))
    if not isinstance(model, Recognizer):
        model = Recognizer(model, device=device, detector=detector, size=size)
    elif size is not None:
        model = model.with_size(size)
    results = _results(given, model, every, bgr)
    return results if stream else list(results)


def _endless(one: Source) -> bool:
    text = str(one) if isinstance(one, int | str | os.PathLike) else ""
    return isinstance(one, int) or is_camera(text) or is_address(text)


def _results(
    given: list[Source], recognizer: Recognizer, every: int | None, bgr: bool
) -> Iterator[Result]:
    for number, one in enumerate(given, 1):
        alone = len(given) == 1
        if isinstance(one, int):
            yield from _movie(Item.camera(one), recognizer, every, alone)
        elif isinstance(one, str | os.PathLike):
            text = os.fspath(one)
            for item in find([text]):
                only = alone and item.where == text
                if item.kind == "photo":
                    yield _photo(item.shown, item.where, recognizer, bgr, only)
                else:
                    yield from _movie(item, recognizer, every, only)
        else:
            yield _photo(f"picture {number}", one, recognizer, bgr, alone)


def _photo(name: str, picture: Picture, recognizer: Recognizer, bgr: bool, alone: bool) -> Result:
    try:
        faces = recognizer.recognize(picture, bgr=bgr)
    except InputError as error:
        if alone:
            raise
        return Result(name, 0, None, [], problem=str(error))
    return Result(name, 0, None, faces, origin=faces.origin)


def _movie(item: Item, recognizer: Recognizer, every: int | None, alone: bool) -> Iterator[Result]:
    last, time_s = -1, 0.0
    try:
        with closing(open_movie(item)) as movie:
            with closing(follow_film(movie, recognizer, every)) as followed:
                for frame, faces in followed:
                    last, time_s = frame.index, frame.time_s
                    origin = Origin(frame.pixels, bgr=False)
                    yield Result(item.shown, last, time_s, faces, origin=origin)
            problem = movie.problem
    except InputError as error:
        if alone and last < 0:
            raise
        problem = str(error)
    if problem is not None:
        yield Result(item.shown, last + 1, time_s, [], problem=problem)
