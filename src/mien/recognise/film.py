"""Recognising a whole video, stream or camera: shared by the command line, the service and `predict`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from mien.decoding import MAX_PIXELS
from mien.errors import InputError
from mien.recognise.camera import Camera
from mien.recognise.media import Frame, Item, Movie, SourceError
from mien.recognise.recognizer import Recognizer
from mien.recognise.rows import Row
from mien.recognise.stream import (
    Recognize,
    Summary,
    follow,
    frames_from,
    frames_of,
    recognise_movie,
    usual_interval,
)
from mien.recognise.track import FaceTracker, TrackedFace
from mien.recognise.video import VideoReader
from mien.recognise.video_writer import VideoWriter


def open_movie(
    item: Item,
    *,
    max_pixels: int = MAX_PIXELS,
    threads: int = 0,
    watch: Callable[[], object] = lambda: None,
) -> Movie:
    """Open a video, stream or camera; the caller has to close it.

    Args:
        item: the source.
        max_pixels, threads, watch: as `VideoReader` takes them; a camera has none of them.

    Raises:
        SourceError: it cannot be opened.
    """
    try:
        if item.kind == "camera":
            return Camera(int(item.where))
        return VideoReader(item.where, max_pixels=max_pixels, threads=threads, watch=watch)
    except InputError as error:
        raise SourceError(str(error)) from error


def recognise_film(
    item: Item,
    recognizer: Recognizer,
    *,
    every: int | None = None,
    rows: Sequence[Callable[[list[Row]], object]] = (),
    copy: Path | None = None,
    called: str | None = None,
    on_frame: Callable[[Frame, int | None], None] = lambda _frame, _total: None,
    max_pixels: int = MAX_PIXELS,
    threads: int = 0,
    watch: Callable[[], object] = lambda: None,
) -> Summary:
    """Recognise and track the faces of a video, stream or camera to its end.

    An exception from one of the functions that are passed in ends it early.

    Args:
        item: the source.
        recognizer: finds and classifies the faces, with a single search for each frame.
        every: search faces in every N-th frame; None is ten frames a second, and each frame of a live source.
        rows: functions that take the rows of each frame, one for each face: `RowFile.write`, `Timeline.add`.
        copy: path of a copy of the video with faces marked and with its sound; None for no copy.
        called: the name in rows and messages; by default the item's.
        on_frame: called after each frame with the frame and the estimated number of frames, or None.
        max_pixels, threads, watch: as `VideoReader` takes them.

    Returns:
        Counts of frames, and the faces that appeared.

    Raises:
        SourceError: the source cannot be read.
        InputError: any other: a table or the copy cannot be written.
    """
    with ExitStack() as stack:
        movie = open_movie(item, max_pixels=max_pixels, threads=threads, watch=watch)
        stack.callback(movie.close)
        movie.name = called or movie.name
        total = frames_of(movie)
        video = None
        if copy is not None:
            sound = None if movie.live else item.where
            video = VideoWriter(copy, time_base=movie.time_base, sound_of=sound)
            stack.enter_context(video)
        recognize, step, tracker = _usual(movie, recognizer, every)
        return recognise_movie(
            movie,
            recognize,
            every=step,
            tracker=tracker,
            rows=rows,
            video=video,
            on_frame=lambda frame: on_frame(frame, total),
        )


def follow_film(
    movie: Movie, recognizer: Recognizer, every: int | None = None
) -> Generator[tuple[Frame, list[TrackedFace]]]:
    """Yield the frames of an open video or camera with their tracked faces; arguments as for `recognise_film`."""
    recognize, step, tracker = _usual(movie, recognizer, every)
    with closing(frames_from(movie)) as frames:
        yield from follow(frames, recognize, every=step, tracker=tracker)


def _usual(
    movie: Movie, recognizer: Recognizer, every: int | None
) -> tuple[Recognize, int, FaceTracker]:
    """The defaults for a film: the recognising function, the interval of frames, the tracker."""
    step = every or usual_interval(movie)
    tracker = FaceTracker(uncertain_below=recognizer.card.uncertain_below)
    return recognizer.for_films().recognize, step, tracker
