"""From a video to followed faces, rows, an annotated copy and a timeline, in memory that does not grow."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from make_videos import FACE, HAPPY, NAMES, Found, drawn, find_drawn, place, write_video
from make_videos import sound_packets as sound

from mien.errors import InputError
from mien.pages.timeline import MOST_TRACKS, Timeline
from mien.recognise.camera import Camera
from mien.recognise.media import Frame
from mien.recognise.rows import RowFile, read_rows, row
from mien.recognise.stream import follow, newest, recognise_movie, usual_interval
from mien.recognise.track import FaceTracker
from mien.recognise.video import VideoReader
from mien.recognise.video_writer import VideoWriter

TICKS = range(0, 512 * 60, 512)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", TICKS)


def frames(count, rate=25, of=lambda index: drawn(*place(index))):
    return (Frame(i, i / rate, lambda i=i: of(i)) for i in range(count))


def test_every_frame_has_a_row_and_a_place_in_the_copy(film, tmp_path):
    table, copy = tmp_path / "faces.csv", tmp_path / "copy.mp4"
    with (
        VideoReader(film) as movie,
        RowFile(table, NAMES) as rows,
        VideoWriter(copy, time_base=movie.time_base, sound_of=str(film)) as video,
    ):
        told = []
        done = recognise_movie(
            movie,
            find_drawn,
            rows=[rows.write],
            video=video,
            on_frame=lambda f: told.append(f.index),
        )
    assert (done.frames, done.looked_at) == (60, 60)
    assert done.to_dict()["faces"] == [
        {
            "track_id": 1,
            "first_s": 0,
            "last_s": pytest.approx(59 / 25),
            "frames": 60,
            "expression": "happy",
            "probabilities": pytest.approx(HAPPY),
        }
    ]
    assert done.duration_s == pytest.approx(59 / 25)
    assert done.problem is None
    assert told == list(range(60))
    for index, one in enumerate(read_rows(table)):
        assert one["source"] == str(film)
        assert one["frame"] == index
        assert one["time_s"] == pytest.approx(index / 25)
        assert one["track_id"] == 1
        assert (one["x"], one["y"]) == pytest.approx(place(index), abs=2)
        assert (one["width"], one["height"]) == pytest.approx((FACE, FACE), abs=2)
        assert one["happy"] == one["happy_smoothed"] == 0.7
    assert sound(copy) == sound(film)
    with VideoReader(copy) as again, VideoReader(film) as first:
        for marked, frame in zip(again, first, strict=True):
            assert marked.time_s == frame.time_s
            x, y = place(frame.index)
            around = marked.pixels[y - 3 : y, max(x, 4) : x + FACE].astype(int)
            assert np.abs(around - frame.pixels[y - 3 : y, max(x, 4) : x + FACE]).max() > 60


@pytest.mark.parametrize("every", [2, 5, 7])
def test_boxes_between_two_looks_follow_the_face(every):
    looks = []

    def recognize(picture):
        looks.append(picture)
        return find_drawn(picture)

    seen = list(follow(frames(40), recognize, every=every))  # the face goes straight for 40 frames
    assert [frame.index for frame, _ in seen] == list(range(40))
    assert len(looks) == -(-40 // every)
    last_look = 39 // every * every
    for frame, faces in seen:
        (face,) = faces
        assert face.track_id == 1
        looked = frame.index % every == 0
        assert (face.raw is not None) == (face.detection_score is not None) == looked
        expected = place(min(frame.index, last_look))
        assert face.box == pytest.approx((*expected, FACE, FACE))


def test_one_look_a_second_keeps_the_face():
    """`every=25` gave one person a new track at each look: 0.5 s without a look ended it."""
    walk = frames(101, of=lambda index: drawn(10 + index // 2, 20))
    assert [faces[0].track_id for _, faces in follow(walk, find_drawn, every=25)] == [1] * 101


def test_faces_that_come_and_go_belong_to_the_nearer_look():
    here = range(4, 13)  # of looks at 0, 4, 8, 12, 16: seen in 4, 8, 12

    def of(index):
        return drawn(20, 20) if index in here else np.full((64, 96, 3), 40, np.uint8)

    seen = [len(faces) for _, faces in follow(frames(20, of=of), find_drawn, every=4)]
    assert seen == [0, 0, *[1] * 12, *[0] * 6]


def test_pixels_are_made_only_where_they_are_looked_at():
    made = []

    def of(index):
        made.append(index)
        return drawn(*place(index))

    list(follow(frames(10, of=of), find_drawn, every=3))
    assert made == [0, 3, 6, 9]


def test_frames_without_faces_have_no_rows(tmp_path):
    path = tmp_path / "faces.csv"
    film = write_video(tmp_path / "a.mp4", TICKS)
    with VideoReader(film) as movie, RowFile(path, NAMES) as rows:
        done = recognise_movie(movie, lambda picture: [], rows=[rows.write])
    assert (done.frames, done.faces) == (60, {})
    assert list(read_rows(path)) == []


def test_ctrl_c_ends_a_camera_but_interrupts_a_video(film):
    def interrupted(picture):
        raise KeyboardInterrupt

    with VideoReader(film) as movie, pytest.raises(KeyboardInterrupt):
        recognise_movie(movie, interrupted)
    with VideoReader(film) as movie:
        movie.live = True
        assert recognise_movie(movie, interrupted).frames == 0


def test_ten_looks_a_second_are_usual(film, tmp_path):
    with VideoReader(film) as movie:
        assert usual_interval(movie) == 2
        movie.rate = Fraction(60)
        assert usual_interval(movie) == 6
        movie.rate = Fraction(30_000, 1001)  # television's, 29.97
        assert usual_interval(movie) == 3
        movie.rate = Fraction(5)
        assert usual_interval(movie) == 1
        movie.live = True
        movie.rate = Fraction(60)
        assert usual_interval(movie) == 1


def test_what_could_not_be_read_is_in_the_summary(tmp_path):
    whole = write_video(tmp_path / "a.mkv", range(0, 512 * 100, 512))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with VideoReader(whole) as movie:
        done = recognise_movie(movie, find_drawn)
    assert 10 < done.frames < 90
    assert "cut short" in done.problem


def test_a_slow_reader_of_a_live_source_sees_the_newest():
    def live():
        for index in range(50):
            yield Frame(index, index / 100, lambda: drawn(0, 0))
            time.sleep(0.01)

    seen = []
    for frame in newest(live()):
        seen.append(frame.index)
        time.sleep(0.05)
    assert seen == sorted(set(seen))
    assert seen[-1] == 49
    assert 5 <= len(seen) <= 25


def test_a_live_source_that_fails_says_so_and_one_that_is_left_ends():
    def broken():
        yield Frame(0, 0.0, lambda: drawn(0, 0))
        raise InputError("the camera is gone")

    with pytest.raises(InputError, match="the camera is gone"):
        list(newest(broken()))

    def endless():
        index = 0
        while True:
            yield Frame(index, float(index), lambda: drawn(0, 0))
            index += 1

    before = threading.active_count()
    frames = newest(endless())
    next(frames)
    frames.close()
    assert threading.active_count() == before


def test_a_camera_goes_through_to_the_table(tmp_path):
    class MadeUp:
        left = 30

        def isOpened(self):  # noqa: N802 (OpenCV's name)
            return True

        def read(self):
            time.sleep(0.002)
            self.left -= 1
            return self.left >= 0, drawn(*place(30 - self.left))[..., ::-1]

        def release(self):
            pass

    path = tmp_path / "faces.csv"
    with Camera(0, capture=lambda number: MadeUp()) as camera, RowFile(path, NAMES) as rows:
        done = recognise_movie(camera, find_drawn, rows=[rows.write])
    assert 1 <= done.frames <= 30
    assert "gave no more pictures" in done.problem
    assert {one["source"] for one in read_rows(path)} == {"camera 0"}


def video_rows(changes, rate=25, **more):
    """Rows of faces: track -> [(from, to, probabilities)]."""
    for number, spans in changes.items():
        for begin, end, probabilities in spans:
            for index in range(round(begin * rate), round(end * rate)):
                (face,) = FaceTracker().update(0.0, [Found((0, 0, 9, 9), probabilities)])
                yield row("a.mp4", index, index / rate, face) | {"track_id": number} | more


def test_a_timeline_shows_who_looked_how_and_when():
    sad = {"sad": 0.8, "happy": 0.1, "neutral": 0.1}
    timeline = Timeline()
    timeline.add(video_rows({1: [(0, 6, HAPPY), (6, 8, sad)], 2: [(4, 5, sad), (7, 8, sad)]}))
    timeline.add([row("photo.jpg", 0, None, Found((0, 0, 9, 9), HAPPY))])
    figure = timeline.figure()
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Face 1: happy in 75% of its frames",
        "Face 2: sad in 100% of its frames",
    ]
    first, second = figure.axes
    assert first.get_xlim() == pytest.approx((0, 8))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(NAMES)
    # What is stacked: sad below, from 0 to its probability, which jumps at 6 s.
    lowest = first.collections[0].get_paths()[0].vertices
    assert lowest[np.abs(lowest[:, 0] - 3) < 0.05][:, 1].max() == pytest.approx(0.1)
    assert lowest[np.abs(lowest[:, 0] - 7) < 0.05][:, 1].max() == pytest.approx(0.8)
    # The second face is away between 5 and 7 s.
    spans = [collection.get_paths()[0].vertices[:, 0] for collection in second.collections]
    assert len(spans) == 6
    assert not any(((span > 5.05) & (span < 6.95)).any() for span in spans)
    colours = {tuple(c.get_facecolor()[0][:3]) for c in first.collections}
    assert len(colours) == 3
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.size[0]


def test_a_timeline_of_hours_and_of_crowds_stays_small():
    timeline = Timeline()
    timeline.add(video_rows({1: [(0, 7200, HAPPY)]}, rate=1))
    timeline.add(video_rows({n: [(n, n + 2, HAPPY)] for n in range(2, 40)}, rate=5))
    assert len(timeline._tracks[1].steps) <= 2000
    figure = timeline.figure()
    assert len(figure.axes) == MOST_TRACKS
    assert figure.axes[-1].get_xlabel() == "minutes"
    assert figure.axes[-1].get_xlim()[1] == pytest.approx(120, abs=0.2)
    assert len(figure.axes[0].collections) == len(NAMES)  # one piece, though rows are seldom
    with pytest.raises(InputError, match="no timeline"):
        Timeline().figure()


MEASURED = """
import sys
from pathlib import Path
import psutil
sys.path.insert(0, {here!r})
from make_videos import NAMES, find_drawn
from mien.pages.timeline import Timeline
from mien.recognise.rows import RowFile
from mien.recognise.stream import recognise_movie
from mien.recognise.video import VideoReader
from mien.recognise.video_writer import VideoWriter

film, out = Path(sys.argv[1]), Path(sys.argv[2])
peak = 0
def told(frame):
    global peak
    if frame.index % 50 == 0:
        peak = max(peak, psutil.Process().memory_info().rss)
timeline = Timeline()
with (
    VideoReader(film) as movie,
    RowFile(out / "faces.csv", NAMES) as rows,
    VideoWriter(out / "copy.mp4", time_base=movie.time_base, sound_of=str(film)) as video,
):
    done = recognise_movie(movie, find_drawn, every=3, rows=[rows.write, timeline.add], video=video, on_frame=told)
print(done.frames, peak / 1e6)
"""


@pytest.mark.slow
def test_memory_is_flat_over_a_film_twenty_times_as_long(tmp_path):
    def peak(count):
        """Megabytes, and frames, of a process that does it all with a film of so many frames."""
        film = write_video(tmp_path / f"{count}.mp4", range(0, 512 * count, 512), size=(192, 128))
        out = tmp_path / str(count)
        out.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED.format(here=str(Path(__file__).parent)), film, out],
            capture_output=True,
            text=True,
            check=True,
        )
        read, megabytes = done.stdout.split()
        with (out / "faces.csv").open(encoding="utf-8") as table:
            assert sum(1 for _ in csv.DictReader(table)) == count
        return int(read), float(megabytes)

    short_frames, short = peak(200)
    long_frames, long = peak(4000)
    assert (short_frames, long_frames) == (200, 4000)
    assert long - short < 20, f"{short:.0f} MB for 200 frames, {long:.0f} MB for 4,000"
