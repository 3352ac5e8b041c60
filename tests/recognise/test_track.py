"""Faces keep their number through hand-made scenes, and their answers are smoothed by time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from make_videos import HAPPY, Found

from mien.recognise import track
from mien.recognise.track import FaceTracker, diou, smoothed

SAD = {"sad": 0.8, "happy": 0.1, "neutral": 0.1}


def box_at(x: float, y: float = 100, size: float = 40) -> tuple[float, float, float, float]:
    return (x - size / 2, y - size / 2, size, size)


def follow(scene, *, rate=25, scale=1.0, **options):
    """The track of each face of each frame; a scene gives the faces' centres at a time in seconds."""
    tracker = FaceTracker(**options)
    numbers = []
    for index in range(round(scene.seconds * rate)):
        boxes = [box_at(*centre) for centre in scene(index / rate)]
        faces = [Found(tuple(scale * side for side in box), HAPPY) for box in boxes]
        numbers.append([face.track_id for face in tracker.update(index / rate, faces)])
    return numbers


def lasting(seconds):
    def mark(scene):
        scene.seconds = seconds
        return scene

    return mark


@lasting(2)
def crossing(t):
    """Two faces pass each other, one a little below the other."""
    return [(100 + 100 * t, 100), (300 - 100 * t, 112)]


@lasting(2)
def hiding(t):
    """The same, but the one behind cannot be seen while the other is before it."""
    left, right = (100 + 100 * t, 100), (300 - 100 * t, 104)
    return [left] if abs(left[0] - right[0]) < 30 else [left, right]


@lasting(1)
def crowd(t):
    """Faces side by side, all moving the same way, one quarter of a face in each frame of 25."""
    return [(100 + 45 * place + 250 * t, 100) for place in range(6)]


@pytest.mark.parametrize("scale", [0.2, 1.0, 10.0])
@pytest.mark.parametrize("rate", [10, 25, 120])
def test_faces_that_cross_keep_their_numbers(rate, scale):
    assert follow(crossing, rate=rate, scale=scale) == [[1, 2]] * (2 * rate)


@pytest.mark.parametrize("rate", [12, 25, 60])
def test_a_face_that_was_hidden_by_another_is_itself_again(rate):
    numbers = follow(hiding, rate=rate)
    assert numbers[0] == [1, 2]
    assert [1] in numbers
    assert all(seen in ([1], [1, 2]) for seen in numbers)


def test_a_crowd_that_moves_quickly_is_not_mixed_up():
    assert follow(crowd) == [[1, 2, 3, 4, 5, 6]] * 25


def test_order_of_the_faces_does_not_matter():
    tracker = FaceTracker()
    here, there = Found(box_at(100), HAPPY), Found(box_at(200), HAPPY)
    assert [face.track_id for face in tracker.update(0.0, [here, there])] == [1, 2]
    assert [face.track_id for face in tracker.update(0.04, [there, here])] == [2, 1]


@pytest.mark.parametrize(("away_s", "number"), [(0.3, 1), (0.5, 1), (0.7, 2)])
def test_a_short_absence_is_bridged_and_a_long_one_is_not(away_s, number):
    tracker = FaceTracker(gap_s=0.5)
    for index in range(10):
        tracker.update(index * 0.04, [Found(box_at(100 + 2 * index), HAPPY)])
    back = 10 + round(away_s / 0.04)
    for index in range(10, back):
        assert tracker.update(index * 0.04, []) == []
    (face,) = tracker.update(back * 0.04, [Found(box_at(118 + 50 * away_s), HAPPY)])
    assert face.track_id == number
    assert tracker.begun == number


@pytest.mark.parametrize("apart_s", [0.6, 1.0, 60.0])
def test_time_alone_ends_no_track(apart_s):
    """Every 25th frame of a film, or a slow server, gave one person a new number at each look."""
    tracker = FaceTracker(gap_s=0.5)
    for index in range(10):
        people = [Found(box_at(100 + 3 * index), HAPPY), Found(box_at(200), HAPPY)]
        faces = tracker.update(index * apart_s, people)
        assert [face.track_id for face in faces] == [1, 2]


def test_a_single_look_without_the_face_ends_no_track_and_two_do():
    tracker = FaceTracker(gap_s=0.5)
    here = [Found(box_at(100), HAPPY)]
    looks = [here, [], here, [], [], here]
    numbers = [[f.track_id for f in tracker.update(1.0 * t, look)] for t, look in enumerate(looks)]
    assert numbers == [[1], [], [1], [], [], [2]]


def test_without_a_gap_the_first_look_without_the_face_ends_its_track():
    tracker = FaceTracker(gap_s=0)
    here = [Found(box_at(100), HAPPY)]
    assert [tracker.update(t, look) for t, look in ((0.0, here), (0.1, []))][1] == []
    assert tracker.update(0.2, here)[0].track_id == 2


def test_after_a_long_pause_a_face_far_away_is_another():
    tracker = FaceTracker()
    tracker.update(0.0, [Found(box_at(100), HAPPY)])
    assert tracker.update(60.0, [Found(box_at(100 + 40 * 8), HAPPY)])[0].track_id == 2


def test_one_who_leaves_and_another_who_comes_elsewhere_are_two():
    tracker = FaceTracker()
    tracker.update(0.0, [Found(box_at(100), HAPPY)])
    assert tracker.update(0.04, [Found(box_at(300), HAPPY)])[0].track_id == 2


def test_a_face_behind_of_another_size_is_another():
    tracker = FaceTracker()
    tracker.update(0.0, [Found(box_at(100, size=40), HAPPY)])
    assert tracker.update(0.04, [Found(box_at(100, size=100), HAPPY)])[0].track_id == 2


def test_memory_holds_the_living_alone():
    tracker = FaceTracker()
    for index in range(500):  # one after the other, each at another place
        tracker.update(index * 1.0, [Found(box_at(1000.0 * index), HAPPY)])
    assert tracker.begun == 500
    assert len(tracker._tracks) <= 2


@pytest.mark.parametrize("rate", [5, 25, 240])
def test_smoothing_goes_towards_a_new_answer_as_its_closed_form_says(rate):
    """From sad to happy: what is left of sad is exp(-t / constant), at any frame rate."""
    tracker = FaceTracker(smooth_s=0.4)
    tracker.update(0.0, [Found(box_at(100), SAD)])
    for index in range(1, 2 * rate + 1):
        (face,) = tracker.update(index / rate, [Found(box_at(100), HAPPY)])
        left = math.exp(-index / rate / 0.4)
        for name in SAD:
            expected = HAPPY[name] + left * (SAD[name] - HAPPY[name])
            assert face.probabilities[name] == pytest.approx(expected, abs=1e-12)
        assert sum(face.probabilities.values()) == pytest.approx(1)
        assert face.raw == HAPPY
        assert face.expression == max(face.probabilities, key=face.probabilities.get)
        assert face.probability == face.probabilities[face.expression]


def test_without_smoothing_the_answer_is_the_frames_own():
    tracker = FaceTracker(smooth_s=0)
    tracker.update(0.0, [Found(box_at(100), SAD)])
    (face,) = tracker.update(0.04, [Found(box_at(100), HAPPY)])
    assert face.probabilities == HAPPY


def test_what_is_uncertain_is_told_by_the_smoothed_answer():
    tracker = FaceTracker(gap_s=1, smooth_s=1, uncertain_below=0.5)
    assert not tracker.update(0.0, [Found(box_at(100), SAD)])[0].uncertain
    assert tracker.update(0.6, [Found(box_at(100), HAPPY)])[0].why_uncertain == "probability"


def test_a_frame_whose_picture_is_too_bad_is_uncertain_and_the_next_is_not():
    tracker = FaceTracker(gap_s=1, smooth_s=1, uncertain_below=0.5)
    assert (
        tracker.update(0.0, [Found(box_at(100), SAD, doubt="spread")])[0].why_uncertain == "spread"
    )
    (face,) = tracker.update(0.1, [Found(box_at(100), SAD)])
    assert face.why_uncertain is None
    assert not face.uncertain


def test_smoothing_steps_add_up():
    before, newest = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    once = smoothed(before, newest, 0.3, 0.5)
    twice = smoothed(smoothed(before, newest, 0.1, 0.5), newest, 0.2, 0.5)
    assert once == pytest.approx(twice)
    assert smoothed(before, newest, 0.5, 0.5)[1] == pytest.approx(1 - 1 / math.e)


def test_diou_against_torchvision():
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    generator = np.random.default_rng(0)
    for _ in range(50):
        one, other = (tuple(generator.uniform(1, 50, 4).tolist()) for _ in range(2))
        corners = [torch.tensor([x, y, x + w, y + h]) for x, y, w, h in (one, other)]
        loss = ops.distance_box_iou_loss(*corners)
        assert diou(one, other) == pytest.approx(1 - float(loss), abs=1e-5)


def test_a_crowd_is_matched_by_few_comparisons(monkeypatch):
    """484 faces in a frame took 0.8 s: each was compared with each."""
    compared = []
    real = track.diou
    monkeypatch.setattr(track, "diou", lambda *boxes: compared.append(1) or real(*boxes))
    crowd = [
        Found((30.0 * (number % 22), 30.0 * (number // 22), 28.0, 28.0), HAPPY)
        for number in range(484)
    ]
    tracker = FaceTracker(gap_s=1)
    tracker.update(0.0, crowd)
    assert [one.track_id for one in tracker.update(0.1, crowd)] == list(range(1, 485))
    assert len(compared) < 5000


def test_two_frames_of_one_time_do_not_cost_the_track():
    """The velocity was 0 / 0, after which no face was near its expected place."""
    tracker = FaceTracker()
    scene = [(0.0, 100), (0.0, 104), (0.1, 104), (0.2, 105)]

    numbers = [tracker.update(t, [Found(box_at(x), HAPPY)])[0].track_id for t, x in scene]

    assert numbers == [1, 1, 1, 1]
