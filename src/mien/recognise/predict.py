"""`mien.predict`: one function for photos, folders, videos, streams, cameras and arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeGuard, cast, overload

from mien.errors import InputError
from mien.files import from_home
from mien.recognise.detect import Detector
from mien.recognise.detectors import USUAL
from mien.recognise.film import follow_film, open_movie
from mien.recognise.media import Item, find, is_address, is_camera
from mien.recognise.pictures import Picture, is_data_url
from mien.recognise.recognizer import Model, Recognizer
from mien.recognise.rows import Row, row
from mien.recognise.showing import Origin, Shown
from mien.recognise.track import FaceLike

#: A source of pictures; an int is the number of a camera.
Source: TypeAlias = Picture | int
Opened: TypeAlias = str | os.PathLike[str] | bytes | Model | Recognizer | None

#: Bytes of films' frames that a list of results keeps: a minute of 1920 x 1080 has eleven times as many.
_KEPT_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Result(Shown):
    """The faces of a photo, or of one frame of a video, stream or camera.

    It can be displayed: `plot()`, `save(path)`, `show()`, and as the last line of a notebook's cell.

    Attributes:
        source: path, URL, `camera 0`, or `picture 1` for the first array or data: URL.
        frame: position among a video's frames, from 0; 0 for a photo.
        time_s: seconds from a video's beginning; None for a photo.
        faces: the faces, from left to right; in a video tracked and smoothed, with a `track_id`.
        problem: a sentence if the source could not be read, or a video not to its end; then without faces.
        origin: the picture, for displaying it; None if there is a problem, or it was not kept: see `predict`.

    >>> import numpy as np
    >>> (result,) = predict([np.zeros((48, 48), np.uint8)], detector="none")
    >>> result.source, len(result.faces)
    ('picture 1', 1)
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
        """One row for each face, with the columns of `mien predict --csv`."""
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
    """Find the faces of pictures and videos, and their expressions.

    A file that cannot be read does not stop the others: its result has a `problem`. If it is the only
    source, the error is raised.

    Args:
        source: the path of a photo or video, a folder (searched recursively), a pattern
            (`trip/**/*.jpg`), the URL of a stream (`rtsp://...`), the number of a camera (0), an array
            (see `bgr`), a Pillow image, the bytes of a file, a data: URL; or a list of these.
        stream: yield results one at a time in constant memory; otherwise they are collected in a list,
            which keeps the pictures of a film's first frames only, 1 GB of them: later ones cannot be
            displayed. Needed for a camera or stream, which has no end.
        model: a name, a file, a run folder or a URL with its SHA-256, as `Recognizer` takes it; or a
            Recognizer. By default the packaged model.
        detector, device: as `Recognizer` takes them; ignored if `model` is a Recognizer.
        size: pixels of the longer side at which faces are searched, as `Recognizer` takes it; also
            applied if `model` is a Recognizer.
        every: search faces in every N-th frame of a video; by default ten frames a second.
        bgr: arrays are in OpenCV's colour order (BGR), not RGB.

    Returns:
        One result for each photo and each frame: a list, or an iterator with `stream=True`.

    Raises:
        InputError: a path does not exist, a folder has no photo or video, a camera or stream is given
            without `stream=True`, or the only source cannot be read.
    """
    given = cast(list[Source], list(source) if isinstance(source, list | tuple) else [source])
    if every is not None and every < 1:
        raise InputError(f"every={every}: give 1 for each frame, 2 for every second one, and so on")
    for one in given:  # report missing paths before any work is done
        if isinstance(one, list | tuple):
            raise InputError(f"a {type(one).__name__} among the sources; give them all in one list")
        if _is_place(one):
            next(find([os.fspath(one)]))
        if not stream and _endless(one):
            raise InputError(f"{one!s}: it has no end; ask for an iterator with stream=True")
    if not isinstance(model, Recognizer):
        model = Recognizer(model, device=device, detector=detector, size=size)
    elif size is not None:
        model = model.with_size(size)
    results = _results(given, model, every, bgr)
    return results if stream else _collected(results)


def _collected(results: Iterator[Result]) -> list[Result]:
    """Collect results; the frames of films beyond `_KEPT_BYTES` are left without their pictures."""
    collected, held = [], 0
    for result in results:
        if result.time_s is not None and result.origin is not None:
            held += result.origin.photo().pixels.nbytes
            if held > _KEPT_BYTES:
                result = replace(result, origin=None)
        collected.append(result)
    return collected


def _is_place(one: Source) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a source is a path, a pattern or a URL; a data: URL is the picture itself."""
    return isinstance(one, os.PathLike) or (isinstance(one, str) and not is_data_url(one))


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
        elif _is_place(one):
            text = os.fspath(one)
            for item in find([text]):
                only = alone and Path(item.where) == from_home(text)
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
