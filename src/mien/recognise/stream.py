"""From frames to followed faces to tables and videos. Memory holds a few frames, however long it goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.recognise.draw import annotated
from mien.recognise.media import Frame, Movie
from mien.recognise.rows import RowFile, row
from mien.recognise.track import FaceLike, TrackedFace, Tracker

if TYPE_CHECKING:
    from mien.recognise.faces import Box
    from mien.recognise.video_writer import VideoWriter

#: What finds and judges the faces of a picture, uint8 RGB (H, W, 3): `Recognizer.recognize`, say.
Recognize = Callable[[NDArray[np.uint8]], Sequence[FaceLike]]
#: The time of a frame that was looked at, and its faces.
_Look = tuple[float, list[TrackedFace]]


@dataclass(frozen=True)
class Summary:
    """What came of a movie.

    frames: that were read; looked_at: in how many of them faces were looked for.
    faces: over all frames, those between two looks included; tracks: different ones.
    duration_s: the time of the last frame.
    problem: a sentence where not all could be read as it should.
    """

    frames: int
    looked_at: int
    faces: int
    tracks: int
    duration_s: float
    problem: str | None


def recognise_movie(
    movie: Movie,
    recognize: Recognize,
    *,
    every: int = 1,
    tracker: Tracker | None = None,
    rows: RowFile | None = None,
    video: VideoWriter | None = None,
    told: Callable[[Frame], None] = lambda frame: None,
) -> Summary:
    """Recognise the faces of a video, stream or camera from its first frame to its last.

    Args:
        movie: where frames come from.
        recognize: picture, uint8 RGB (H, W, 3), -> faces.
        every: faces are looked for in every so-many-th frame, see `follow`.
        tracker: says how faces are followed and smoothed.
        rows: is given a row for each face of each frame.
        video: is given each frame with its faces drawn.
        told: is called after each frame.

    Raises:
        InputError: where nothing can be read, or a table or video cannot be written.
    """
    tracker = Tracker() if tracker is None else tracker
    count, found, last = 0, 0, 0.0
    # Whatever ends this, nobody reads the movie any more when it is closed.
    with closing(newest(movie) if movie.live else movie.__iter__()) as frames:
        for frame, faces in follow(frames, recognize, every=every, tracker=tracker):
            if rows is not None:
                rows.write(row(movie.name, frame.index, frame.time_s, face) for face in faces)
            if video is not None:
                video.write(annotated(frame.pixels, faces), frame.time_s)
            count, found, last = count + 1, found + len(faces), frame.time_s
            told(frame)
    looked_at = -(-count // every)
    return Summary(count, looked_at, found, tracker.begun, last, movie.problem)


def follow(
    frames: Iterable[Frame],
    recognize: Recognize,
    *,
    every: int = 1,
    tracker: Tracker | None = None,
) -> Iterator[tuple[Frame, list[TrackedFace]]]:
    """Each frame with its faces, as they come.

    Faces are looked for in every so-many-th frame. A frame between two looks has the faces of the
    nearer one; the box of a face that both have moves in a straight line between them. So frames
    come out up to `every` frames late.

    Args:
        frames: in order.
        recognize: picture -> faces.
        every: 1 looks at each frame.
        tracker: says how faces are followed and smoothed.
    """
    tracker = Tracker() if tracker is None else tracker
    waiting: list[Frame] = []
    looked: _Look | None = None
    for count, frame in enumerate(frames):
        if count % every:
            waiting.append(frame)
            continue
        faces = tracker.update(frame.time_s, recognize(frame.pixels))
        for between in waiting:
            yield between, _between(between.time_s, looked, (frame.time_s, faces))
        waiting.clear()
        looked = frame.time_s, faces
        yield frame, faces
    for after in waiting:
        yield after, _between(after.time_s, looked, None)


def _between(time_s: float, before: _Look | None, after: _Look | None) -> list[TrackedFace]:
    """The faces of a frame between two looks."""
    if before is None:  # there is a look at the first frame
        return []
    if after is None:
        return [face.carried(face.box) for face in before[1]]
    share = (time_s - before[0]) / (after[0] - before[0])
    moved = {face.track_id: face.box for face in after[1]}
    left = {face.track_id: face.box for face in before[1]}
    return [
        face.carried(
            _mixed(left.get(face.track_id, face.box), moved.get(face.track_id, face.box), share)
        )
        for face in (before[1] if share < 0.5 else after[1])
    ]


def _mixed(one: Box, other: Box, share: float) -> Box:
    x, y, width, height = ((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
    return x, y, width, height


def newest(frames: Iterable[Frame]) -> Generator[Frame]:
    """The frames of a live source, those left out that came while the one before was in work."""
    held: deque[Frame] = deque(maxlen=1)
    news = threading.Condition()
    stopped = False
    failure: list[BaseException] = []

    def read() -> None:
        nonlocal stopped
        try:
            for frame in frames:
                with news:
                    held.append(frame)
                    news.notify()
                    if stopped:
                        return
        except BaseException as error:  # raised again where somebody listens
            failure.append(error)
        finally:
            with news:
                stopped = True
                news.notify()

    reader = threading.Thread(target=read, name="mien-camera", daemon=True)
    reader.start()
    try:
        while True:
            with news:
                while not held and not stopped:
                    news.wait(0.2)  # Windows hears no Ctrl-C in a wait without an end
                frame = held.popleft() if held else None
            if frame is None:
                break
            yield frame
        if failure:
            raise failure[0]
    finally:
        with news:
            stopped = True
        reader.join()
