"""A film from its file, address or camera to its rows and its copy: one way for all who ask."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from mien.decoding import MAX_PIXELS
from mien.errors import InputError
from mien.recognise.camera import Camera
from mien.recognise.media import Frame, Item, SourceError
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
    usual_tracker,
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
) -> VideoReader | Camera:
    """A video, stream or camera, to be closed. Limits are those of a `VideoReader`.

    Raises:
        SourceError: nothing can be made of it.
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
    """Recognise and follow the faces of a film, to its end, or until something that is called here raises.

    Args:
        item: which.
        recognizer: looks at its frames, once each.
        every: faces are looked for in every so-many-th frame; None is what is usual.
        rows: are given the rows of each frame, one a face: `RowFile.write`, `Timeline.add`.
        copy: where to write the film with its faces marked, and with its sound.
        called: its name in rows and messages, where that is not to be the item's.
        on_frame: is called after each frame with it and about how many there will be, if that is known.
        max_pixels, threads, watch: as `VideoReader` takes them.

    Raises:
        SourceError: nothing can be made of it; any other InputError is of what is written.
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
    movie: VideoReader | Camera, recognizer: Recognizer, every: int | None = None
) -> Generator[tuple[Frame, list[TrackedFace]]]:
    """The frames of an open film with their faces, one at a time, for whoever wants no table."""
    recognize, step, tracker = _usual(movie, recognizer, every)
    with closing(frames_from(movie)) as frames:
        yield from follow(frames, recognize, every=step, tracker=tracker)


def _usual(
    movie: VideoReader | Camera, recognizer: Recognizer, every: int | None
) -> tuple[Recognize, int, FaceTracker]:
    """How a film is looked at, in which of its frames, and how faces are followed."""
    step = every or usual_interval(movie)
    tracker = usual_tracker(movie, step, recognizer.card.uncertain_below)
    return recognizer.for_films().recognize, step, tracker
