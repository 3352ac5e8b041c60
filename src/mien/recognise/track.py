"""Tracking faces from frame to frame, and smoothing their probabilities over time.

All constants are in seconds and shares of a face's size, not in frames or pixels: so the results do not
depend on frame rate and resolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.recognise.doubt import Reason, improbable

if TYPE_CHECKING:
    from mien.recognise.detect import Box

#: Largest distance between a face and its expected place, in face sizes, and its growth with each second.
_REACH, _REACH_PER_S = 0.5, 2.0
#: It grows for so many seconds: after a longer pause, who is still farther away is more likely someone else.
_REACH_GROWS_S = 3.0
#: Largest ratio of the sizes of two boxes of one face.
_GROWTH = 2.0
#: Time constant in seconds of the average of a face's velocity, and of its decay while the face is out of sight.
_INERTIA_S = 0.3


@dataclass(frozen=True)
class FaceLike:
    """What tracking, drawing and tables need of a face; `Face` and `TrackedFace` add to it."""

    box: Box
    detection_score: float | None
    expression: str
    probability: float
    probabilities: Mapping[str, float] = field(hash=False)
    why_uncertain: Reason | None = None

    @property
    def uncertain(self) -> bool:
        """Whether the answer should not be relied on; `why_uncertain` is the reason."""
        return self.why_uncertain is not None


def surely(face: FaceLike) -> str:
    """A face's probability in whole percent; rounded down if uncertain, so that it never reads as the limit.

    >>> surely(FaceLike((0, 0, 9, 9), 0.9, "happy", 0.509, {"happy": 0.509}, "probability"))
    '50 %'
    """
    percent = 100 * face.probability
    return f"{math.floor(percent) if face.uncertain else round(percent)} %"


def told(face: FaceLike) -> str:
    """A face's answer in a few words: its expression, with a `?` if uncertain, and its probability."""
    return f"{face.expression}{'?' if face.uncertain else ''} {surely(face)}"


@dataclass(frozen=True)
class TrackedFace(FaceLike):
    """A face in one frame of a video.

    track_id: number of its track, from 1; the same in all frames of a face.
    box: x, y, width and height in pixels.
    detection_score: 0..1; None in a frame that was not searched, whose box is interpolated.
    expression, probability: the most probable expression by the smoothed probabilities.
    why_uncertain: None, or the reason that the answer is uncertain: the picture in this frame is too bad, or
        the smoothed probability is too low.
    probabilities: expression -> 0..1, smoothed over time.
    raw: the probabilities in this frame alone; None in a frame that was not searched.
    """

    track_id: int = field(kw_only=True)
    raw: Mapping[str, float] | None = field(kw_only=True, hash=False)

    def __repr__(self) -> str:
        x, y, width, height = (round(side) for side in self.box)
        return f"<TrackedFace {self.track_id} {told(self)}, {width} x {height} at {x}, {y}>"

    def carried(self, box: Box) -> TrackedFace:
        """The same face in a frame that was not searched, with an interpolated box."""
        return replace(self, box=box, detection_score=None, raw=None)


@dataclass
class _Track:
    """The state of one track: last time and box, velocity (pixels a second), smoothed probabilities.

    missing_since_s: the time of the first update without the face since it was last seen; None if there was none.
    """

    number: int
    time_s: float
    box: Box
    smoothed: NDArray[np.float64]
    velocity: NDArray[np.float64] | None = None
    missing_since_s: float | None = None

    def expected(self, time_s: float) -> Box:
        """Predict its box at a later time: it moves on with decaying velocity."""
        if self.velocity is None:
            return self.box
        right, down = self.velocity * _INERTIA_S * -math.expm1((self.time_s - time_s) / _INERTIA_S)
        return self.box[0] + right, self.box[1] + down, self.box[2], self.box[3]

    def move(self, time_s: float, box: Box) -> None:
        """Update the track with the face's box at a later time."""
        elapsed = time_s - self.time_s
        if elapsed > 0:  # a coarse clock (Windows: 1/64 s) gives two frames the same time
            newest = (np.array(_centre(box)) - np.array(_centre(self.box))) / elapsed
            before = newest if self.velocity is None else self.velocity
            self.velocity = smoothed(before, newest, elapsed, _INERTIA_S)
        self.time_s, self.box, self.missing_since_s = time_s, box, None

    def missing_s(self, time_s: float) -> float:
        """Note an update without the face; returns the seconds since the first one."""
        if self.missing_since_s is None:
            self.missing_since_s = time_s
        return time_s - self.missing_since_s


class FaceTracker:
    """Assigns each face of a video to a track, and smooths the probabilities along it.

    Faces and predicted boxes are matched greedily in order of their DIoU (Zheng et al. 2020), except
    pairs that are too far apart or differ too much in size. A face without a match starts a track. Only
    living tracks are kept in memory.

    A track ends only by updates without its face, never by time alone: a face that is in two successive
    updates keeps its track, however many seconds lie between them.

    Args:
        gap_s: a track ends when its face was missing for so many seconds, from the first update without it to
            the latest one; so a face that is missing in a single update keeps its track. 0: it ends at once.
        smooth_s: time constant of the smoothing in seconds, see `smoothed`; 0 is no smoothing.
        uncertain_below: answers with a smoothed probability below this are uncertain.

    >>> tracker = FaceTracker()
    >>> face = FaceLike((10, 10, 40, 40), 0.9, "happy", 1.0, {"happy": 1.0, "sad": 0.0})
    >>> [tracker.update(time_s, [face])[0].track_id for time_s in (0.0, 0.1)]
    [1, 1]
    """

    def __init__(
        self, *, gap_s: float = 0.5, smooth_s: float = 0.5, uncertain_below: float = 0.0
    ) -> None:
        self._gap_s, self._smooth_s, self._uncertain_below = gap_s, smooth_s, uncertain_below
        self._tracks: list[_Track] = []
        self.begun = 0

    def update(self, time_s: float, faces: Sequence[FaceLike]) -> list[TrackedFace]:
        """Track the faces of the next frame.

        Args:
            time_s: the frame's time in seconds; never falls from call to call.
            faces: its faces; none is an update as well.

        Returns:
            The same faces in the same order, with their track and smoothed probabilities.
        """
        following = self._matched(time_s, [face.box for face in faces])
        seen = {track.number for track in following.values()}
        self._tracks = [
            track
            for track in self._tracks
            if track.number in seen or track.missing_s(time_s) < self._gap_s
        ]
        return [
            self._answer(following.get(place), time_s, face) for place, face in enumerate(faces)
        ]

    def _matched(self, time_s: float, boxes: Sequence[Box]) -> dict[int, _Track]:
        """Match boxes to tracks: position of a box -> its track, for those that have one."""
        pairs = []
        if boxes:
            centres_N2, sizes_N = _places(boxes)
        for track in self._tracks if boxes else ():
            expected = track.expected(time_s)
            reach = _REACH + _REACH_PER_S * min(time_s - track.time_s, _REACH_GROWS_S)
            # A cheap test for all boxes at once leaves few pairs for `diou`: a crowd has very many.
            ((centre_2,), (size,)) = _places([expected])
            larger_N, smaller_N = np.maximum(sizes_N, size), np.minimum(sizes_N, size)
            apart_N = np.hypot(*(centres_N2 - centre_2).T)
            near_N = (larger_N <= _GROWTH * smaller_N) & (apart_N <= reach * larger_N)
            pairs += [
                (-diou(expected, boxes[place]), place, track)
                for place in np.flatnonzero(near_N).tolist()
            ]
        following: dict[int, _Track] = {}
        taken: set[int] = set()
        # By DIoU, then by place: equal pairs are matched in a reproducible order.
        for _, place, track in sorted(pairs, key=lambda pair: pair[:2]):
            if place not in following and track.number not in taken:
                following[place] = track
                taken.add(track.number)
        return following

    def _answer(self, track: _Track | None, time_s: float, face: FaceLike) -> TrackedFace:
        """Update a face's track (None starts one), and return the face with the smoothed answer."""
        newest = np.array(list(face.probabilities.values()), dtype=np.float64)
        if track is None:
            self.begun += 1
            track = _Track(self.begun, time_s, face.box, newest)
            self._tracks.append(track)
        else:
            elapsed = time_s - track.time_s
            track.smoothed = smoothed(track.smoothed, newest, elapsed, self._smooth_s)
            track.move(time_s, face.box)
        probabilities = dict(zip(face.probabilities, track.smoothed.tolist(), strict=True))
        picture = None if face.why_uncertain == "probability" else face.why_uncertain
        expression = max(probabilities, key=probabilities.__getitem__)
        return TrackedFace(
            track_id=track.number,
            box=face.box,
            detection_score=face.detection_score,
            expression=expression,
            probability=probabilities[expression],
            why_uncertain=picture or improbable(probabilities[expression], self._uncertain_below),
            probabilities=probabilities,
            raw=face.probabilities,
        )


def smoothed(
    before: NDArray[np.float64], newest: NDArray[np.float64], elapsed_s: float, constant_s: float
) -> NDArray[np.float64]:
    """Exponential smoothing that does not depend on the frame rate.

    before + (1 - exp(-elapsed / constant)) (newest - before): `constant_s` seconds after a step the
    result has gone 63 % of the way, whatever the number of frames. Sums to 1 are kept.

    Args:
        before: the smoothed values so far.
        newest: the new values, of the same shape.
        elapsed_s: seconds between the two.
        constant_s: time constant in seconds; 0 or less returns `newest`.
    """
    if constant_s <= 0:
        return newest
    return before - math.expm1(-elapsed_s / constant_s) * (newest - before)


def diou(one: Box, other: Box) -> float:
    """Distance-IoU of two boxes (x, y, width, height), -1..1 (Zheng et al. 2020, equation 7).

    IoU minus the squared distance of the centres over the squared diagonal of the smallest box that
    encloses both.

    >>> diou((0, 0, 2, 2), (0, 0, 2, 2)), diou((0, 0, 2, 2), (2, 0, 2, 2))
    (1.0, -0.2)
    """
    common, widest = 1.0, 0.0
    for axis in (0, 1):
        ends = one[axis] + one[axis + 2], other[axis] + other[axis + 2]
        common *= max(0.0, min(ends) - max(one[axis], other[axis]))
        widest += (max(ends) - min(one[axis], other[axis])) ** 2
    union = one[2] * one[3] + other[2] * other[3] - common
    apart = math.dist(_centre(one), _centre(other)) ** 2
    return common / max(union, 1e-9) - apart / max(widest, 1e-9)


def _places(boxes: Sequence[Box]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (N, 2) and sizes (N,), the square root of the area, of boxes."""
    boxes_N4 = np.array(boxes, np.float64)
    sides_N2 = boxes_N4[:, 2:]
    return boxes_N4[:, :2] + sides_N2 / 2, np.sqrt(np.maximum(sides_N2.prod(axis=1), 1e-9))


def _centre(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2
