"""From frames to followed faces to tables and videos. Memory holds a few frames, however long it goes on."""

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

#: What finds and judges the faces of a picture, uint8 RGB (H, W, 3): `Recognizer.recognize`, say.
Recognize = Callable[[NDArray[np.uint8]], Sequence[FaceLike]]
_LOOKS_PER_S = 10
#: A track outlives so many looks that do not find its face, and half a second.
_MISSED_LOOKS, _GAP_S = 2.5, 0.5
#: Frames between two looks wait for the second: so many at most, and with their pixels at most so many bytes.
_MOST_WAITING, _WAITING_BYTES = 10_000, 64_000_000
#: The time of a frame that was looked at, and its faces.
_Look = tuple[float, list[TrackedFace]]


@dataclass
class Appearance:
    """One face from when it came to when it was last seen.

    frames: it was in, those between two looks included.
    sums: of its smoothed probabilities over these frames.
    """

    track_id: int
    first_s: float
    last_s: float
    frames: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    @property
    def probabilities(self) -> dict[str, float]:
        """The mean over its frames, by expression."""
        return {name: total / self.frames for name, total in self.sums.items()}

    @property
    def expression(self) -> str:
        """The most probable on average."""
        return max(self.sums, key=self.sums.__getitem__)

    def add(self, time_s: float, face: TrackedFace) -> None:
        """It was in one more frame."""
        self.last_s = time_s
        self.frames += 1
        for name, probability in face.probabilities.items():
            self.sums[name] = self.sums.get(name, 0.0) + probability


@dataclass
class Summary:
    """What came of a movie, so far or in all.

    frames: that were read; looked_at: in how many of them faces were looked for.
    faces: one entry a track, in order of appearance.
    duration_s: the time of the last frame.
    problem: a sentence where not all could be read as it should.
    """

    frames: int = 0
    looked_at: int = 0
    duration_s: float = 0.0
    faces: dict[int, Appearance] = field(default_factory=dict)
    problem: str | None = None

    def add(self, frame: Frame, faces: Iterable[TrackedFace], *, looked: bool) -> None:
        """One more frame."""
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
    """Every so-many-th frame is enough for ten looks a second; a live source is looked at as it comes.

    The rate is rounded first: television's 29.97 frames a second are looked at like 30.
    """
    return 1 if movie.live else max(1, round(movie.rate) // _LOOKS_PER_S)


def usual_tracker(movie: Movie, every: int, uncertain_below: float) -> FaceTracker:
    """A tracker whose tracks outlive a few looks that miss their face."""
    gap_s = max(_GAP_S, _MISSED_LOOKS * every / float(movie.rate))
    return FaceTracker(gap_s=gap_s, uncertain_below=uncertain_below)


def frames_of(movie: Movie) -> int | None:
    """About how many frames there will be; None where nobody knows."""
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
    """Recognise the faces of a video, stream or camera from its first frame to its last.

    Ctrl-C ends a live source as its last frame would.

    Args:
        movie: where frames come from.
        recognize: picture, uint8 RGB (H, W, 3), -> faces.
        every: faces are looked for in every so-many-th frame, see `follow`.
        tracker: says how faces are followed and smoothed.
        rows: are given the rows of each frame, one a face: `RowFile.write`, `Timeline.add`.
        video: is given each frame with its faces drawn.
        on_frame: is called after each frame.

    Raises:
        InputError: where nothing can be read, or a table or video cannot be written.
    """
    done = Summary()
    # Whatever ends this, nobody reads the movie any more when it is closed.
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
            if not movie.live:  # which ends in no other way
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
    """Each frame with its faces, as they come.

    Faces are looked for in every so-many-th frame. A frame between two looks has the faces of the
    nearer one; the box of a face that both have moves in a straight line between them. So frames
    come out up to `every` frames late, and are looked at earlier where more would wait than memory is for.

    Args:
        frames: in order.
        recognize: picture -> faces.
        every: 1 looks at each frame.
        tracker: says how faces are followed and smoothed.
        pixels: whether those between two looks keep theirs; without, they have none and cost no memory.
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


def frames_from(movie: Movie) -> Generator[Frame]:
    """The frames of a movie; of a live one those that there is time for."""
    return newest(movie) if movie.live else movie.__iter__()


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
