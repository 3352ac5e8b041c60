"""From frames to tracked faces, tables and annotated videos, in constant memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.recognise.draw import annotated
from mien.recognise.media import Frame, Movie
from mien.recognise.rows import Row, row
from mien.recognise.track import FaceLike, FaceTracker, TrackedFace

if TYPE_CHECKING:
    from mien.recognise.detect import Box
    from mien.recognise.video_writer import VideoWriter

#: A function from a picture, uint8 RGB (H, W, 3), to its classified faces, such as `Recognizer.recognize`.
Recognize = Callable[[NDArray[np.uint8]], Sequence[FaceLike]]
_LOOKS_PER_S = 10
#: Limits of the frames that wait for the next searched frame: their number, and the bytes of their pixels.
_MOST_WAITING, _WAITING_BYTES = 10_000, 64_000_000
#: A searched frame: its time in seconds, and its faces.
_Look = tuple[float, list[TrackedFace]]


@dataclass
class Appearance:
    """One tracked face of a video, over its whole appearance.

    first_s, last_s: its first and last time, in seconds.
    frames: number of frames with the face, including those without a search.
    sums: its smoothed probabilities, summed over these frames.
    """

    track_id: int
    first_s: float
    last_s: float
    frames: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    @property
    def probabilities(self) -> dict[str, float]:
        """Mean probability over its frames, by expression."""
        return {name: total / self.frames for name, total in self.sums.items()}

    @property
    def expression(self) -> str:
        """The expression with the highest mean probability."""
        return max(self.sums, key=self.sums.__getitem__)

    def add(self, time_s: float, face: TrackedFace) -> None:
        """Add a frame with the face."""
        self.last_s = time_s
        self.frames += 1
        for name, probability in face.probabilities.items():
            self.sums[name] = self.sums.get(name, 0.0) + probability


@dataclass
class Summary:
    """The result of a video, stream or camera up to its last frame.

    frames: number of frames read; looked_at: number of frames that were searched for faces.
    faces: one entry for each track, in order of appearance.
    duration_s: time of the last frame in seconds.
    problem: a sentence if a part could not be read or copied correctly; else None.
    """

    frames: int = 0
    looked_at: int = 0
    duration_s: float = 0.0
    faces: dict[int, Appearance] = field(default_factory=dict)
    problem: str | None = None

    def add(self, frame: Frame, faces: Iterable[TrackedFace], *, looked: bool) -> None:
        """Add a frame; `looked`: it was searched for faces."""
        self.frames += 1
        self.looked_at += looked
        self.duration_s = frame.time_s
        for face in faces:
            new = Appearance(face.track_id, frame.time_s, frame.time_s)
            self.faces.setdefault(face.track_id, new).add(frame.time_s, face)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "frames": self.frames,
            "looked_at": self.looked_at,
            "duration_s": round(self.duration_s, 6),
            "problem": self.problem,
            "faces": [
                {
                    "track_id": face.track_id,
                    "first_s": round(face.first_s, 6),
                    "last_s": round(face.last_s, 6),
                    "frames": face.frames,
                    "expression": face.expression,
                    "probabilities": face.probabilities,
                }
                for face in self.faces.values()
            ],
        }


def usual_interval(movie: Movie) -> int:
    """The N of "every N-th frame" that gives ten searched frames a second; 1 for a live source.

    The rate is rounded first, so that 29.97 frames a second give the same N as 30.
    """
    return 1 if movie.live else max(1, round(movie.rate) // _LOOKS_PER_S)


def frames_of(movie: Movie) -> int | None:
    """The estimated number of frames; None if the duration is unknown."""
    return None if movie.duration_s is None else round(movie.duration_s * movie.rate)


def recognise_movie(
    movie: Movie,
    recognize: Recognize,
    *,
    every: int = 1,
    tracker: FaceTracker | None = None,
    rows: Sequence[Callable[[list[Row]], object]] = (),
    video: VideoWriter | None = None,
    on_frame: Callable[[Frame], None] = lambda frame: None,
) -> Summary:
    """Recognise and track the faces of a video, stream or camera from its first frame to its last.

    Ctrl-C ends a live source regularly, like its last frame.

    Args:
        movie: the source of frames.
        recognize: picture, uint8 RGB (H, W, 3), -> faces.
        every: search faces in every N-th frame, see `follow`.
        tracker: tracks and smooths faces; by default a new `FaceTracker()`.
        rows: functions that take the rows of each frame, one for each face: `RowFile.write`, `Timeline.add`.
        video: writes a copy with the faces drawn; None for no copy.
        on_frame: called after each frame.

    Returns:
        Counts of frames, and the faces that appeared.

    Raises:
        InputError: no frame can be read, or a table or video cannot be written.
    """
    done = Summary()
    # Closed first, also after an error: the thread of a live source must not read a movie that is closed.
    with closing(frames_from(movie)) as frames:
        try:
            followed = follow(
                frames, recognize, every=every, tracker=tracker, pixels=video is not None
            )
            for frame, faces in followed:
                made = [row(movie.name, frame.index, frame.time_s, face) for face in faces]
                for take in rows:
                    take(made)
                if video is not None:
                    video.write(annotated(frame.pixels, faces), frame.time_s)
                done.add(frame, faces, looked=frame.looked_at)
                on_frame(frame)
        except KeyboardInterrupt:
            if not movie.live:  # for a live source, Ctrl-C is the regular end
                raise
    done.problem = movie.problem or (video.problem if video is not None else None)
    return done


def follow(
    frames: Iterable[Frame],
    recognize: Recognize,
    *,
    every: int = 1,
    tracker: FaceTracker | None = None,
    pixels: bool = True,
) -> Iterator[tuple[Frame, list[TrackedFace]]]:
    """Yield each frame with its tracked faces.

    Faces are searched in every N-th frame. A frame between two searched ones gets the faces of the
    nearer one; boxes of faces in both are interpolated linearly. So frames are yielded up to `every`
    frames late. If the waiting frames take too much memory, the next one is searched earlier.

    Args:
        frames: the frames, in order.
        recognize: picture, uint8 RGB (H, W, 3), -> faces.
        every: N; 1 searches each frame.
        tracker: tracks and smooths faces; by default a new `FaceTracker()`.
        pixels: frames between two searched ones keep their pixels; False saves the memory.

    Yields:
        (frame, its faces), in order.
    """
    tracker = FaceTracker() if tracker is None else tracker
    waiting: list[Frame] = []
    held = 0
    looked: _Look | None = None
    for frame in frames:
        if looked is not None and len(waiting) + 1 < min(every, _MOST_WAITING):
            held += frame.held
            if not pixels or held <= _WAITING_BYTES:
                waiting.append(frame if pixels else replace(frame, read=_without_pixels, held=0))
                continue
        held = 0
        frame = replace(frame, looked_at=True)
        faces = tracker.update(frame.time_s, recognize(frame.pixels))
        for between in waiting:
            yield between, _between(between.time_s, looked, (frame.time_s, faces))
        waiting.clear()
        looked = frame.time_s, faces
        yield frame, faces
    for after in waiting:
        yield after, _between(after.time_s, looked, None)


def _without_pixels() -> NDArray[np.uint8]:
    raise ValueError("the pixels of this frame were not kept")


def _between(time_s: float, before: _Look | None, after: _Look | None) -> list[TrackedFace]:
    """The faces of a frame between two searched frames."""
    if before is None:  # never: the first frame is searched
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


def frames_from(movie: Movie) -> Generator[Frame]:
    """Iterate over the frames of a movie; of a live one, those that arrive during work are skipped."""
    return newest(movie) if movie.live else movie.__iter__()


def newest(frames: Iterable[Frame]) -> Generator[Frame]:
    """Yield the newest frames of a live source; older ones that arrived during work are skipped.

    A thread reads the source. Its exceptions are raised here.
    """
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
        except BaseException as error:  # raised again in the thread that iterates
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
                    # With a timeout: on Windows, Ctrl-C does not interrupt an endless wait.
                    news.wait(0.2)
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
