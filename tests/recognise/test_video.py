"""Videos are read at their own times, upright, as far as they go; and written with their sound."""

from __future__ import annotations

import itertools
import random
import socket
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from make_videos import SIZE, TIME_BASE, drawn, place, sound_packets, write_video

from mien.errors import InputError, MissingExtraError
from mien.recognise.video import VideoReader, upright
from mien.recognise.video_writer import VideoWriter, copy_name

STEADY = range(0, 512 * 20, 512)
#: Frames 40 ms apart, then long pauses, then 20 ms apart.
VARYING = [0, 512, 1024, 3000, 3512, 9000, 9256, 9512, 20_000]


def times(path: Path) -> list[float]:
    with VideoReader(path) as video:
        return [frame.time_s for frame in video]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("ticks", [STEADY, VARYING], ids=["steady", "varying"])
def test_times_are_those_that_were_written(name, ticks, tmp_path):
    path = write_video(tmp_path / name, ticks)
    # Matroska counts whole milliseconds.
    near = 0.51e-3 if name.endswith("mkv") else 1e-9
    assert times(path) == pytest.approx([float(t * TIME_BASE) for t in ticks], abs=near)


def test_times_count_from_the_beginning_as_players_show_them(tmp_path):
    """A transport stream begins anywhere."""
    path = write_video(tmp_path / "a.ts", [64_000 + t for t in STEADY], sound=None)
    assert times(path) == pytest.approx([float(t * TIME_BASE) for t in STEADY], abs=1e-4)


def test_frames_are_what_was_drawn_in_order(tmp_path):
    path = write_video(tmp_path / "a.mp4", STEADY)
    with VideoReader(path) as video:
        frames = list(video)
    assert [frame.index for frame in frames] == list(range(20))
    for index, frame in enumerate(frames):
        assert frame.pixels.shape == (SIZE[1], SIZE[0], 3)
        error = np.abs(frame.pixels.astype(int) - drawn(*place(index)))
        assert error.mean() < 4
    assert frames[0].pixels is frames[0].pixels


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotated_videos_come_upright(rotation, tmp_path):
    """The file holds the picture turned against what it asks for, as a telephone writes it."""
    picture = drawn(4, 40, (64, 96))
    stored = np.rot90(picture, -rotation // 90)
    pictures = itertools.repeat(np.ascontiguousarray(stored))
    path = write_video(
        tmp_path / "a.mp4",
        STEADY,
        size=(stored.shape[1], stored.shape[0]),
        rotation=rotation,
        pictures=pictures,
    )
    with VideoReader(path) as video:
        shown = next(iter(video)).pixels
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 4


def test_a_telephones_matrix_turns_clockwise_and_mirrors_are_undone():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(upright(picture, (0, 1, -1, 0)), np.rot90(picture, -1))
    assert np.array_equal(upright(picture, (1, 0, 0, 1)), picture)
    assert np.array_equal(upright(picture, (-1, 0, 0, 1)), picture[:, ::-1])
    assert np.array_equal(upright(picture, (1, 0, 0, -1)), picture[::-1])
    assert np.array_equal(upright(picture, (0, 1, 1, 0)), picture.transpose(1, 0, 2))
    assert upright(picture, (0, -1, 1, 0)).flags.c_contiguous


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    path = write_video(tmp_path / "a.mkv", STEADY, sound=None, options={"x264-params": "sar=2/1"})
    with VideoReader(path) as video:
        assert next(iter(video)).pixels.shape == (SIZE[1], 2 * SIZE[0], 3)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_what_there_is_of_a_video_cut_short_is_read_and_then_it_is_said(name, tmp_path):
    whole = write_video(tmp_path / name, range(0, 512 * 100, 512))
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with VideoReader(cut) as video:
        read = list(video)
        problem = video.problem
    assert 20 < len(read) < 90
    if name == "a.mkv":  # a transport stream does not say how long it is
        assert "cut short" in problem
        assert "of 4.0 s" in problem
        assert problem.count("\n") == 0


def test_a_video_with_its_index_first_that_is_cut_short(tmp_path):
    whole = write_video(
        tmp_path / "a.mp4", range(0, 512 * 100, 512), container_options={"movflags": "faststart"}
    )
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10])
    with VideoReader(cut) as video:
        read = list(video)
    assert 20 < len(read) < 90
    assert "cut short" in video.problem


def test_a_whole_video_has_no_problem(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.avi"):
        codec = "mpeg4" if name == "a.avi" else "libx264"
        path = write_video(tmp_path / name, range(20) if codec == "mpeg4" else STEADY, codec=codec)
        with VideoReader(path) as video:
            assert len(list(video)) == 20
        assert video.problem is None


def test_a_video_damaged_in_the_middle_is_read_around_the_damage(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(0, 512 * 100, 512), sound=None)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xa5" * 200
    path.write_bytes(content)
    with VideoReader(path) as video:
        assert 50 < len(list(video)) < 100
    assert "damaged" in video.problem


def test_a_change_of_size_is_said_and_fitted_into_the_first(tmp_path):
    first = write_video(tmp_path / "1.ts", STEADY, sound=None)
    second = write_video(
        tmp_path / "2.ts", [512 * 20 + t for t in STEADY], size=(48, 48), sound=None
    )
    path = tmp_path / "a.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with VideoReader(path) as video:
        frames = list(video)
        shapes = {frame.pixels.shape for frame in frames}
        last = frames[-1].pixels
    assert len(frames) == 40
    assert shapes == {(SIZE[1], SIZE[0], 3)}
    assert "from 96 x 64 to 48 x 48 pixels at 0.8 s" in video.problem
    assert last[:, :64].mean() > 30  # 48 x 48 fitted into the height of 64
    assert last[:, 64:].max() == 0


def test_times_grow_where_a_file_begins_again(tmp_path):
    """Two recordings put one behind the other, each with its own zero."""
    parts = [write_video(tmp_path / f"{n}.ts", STEADY, sound=None) for n in (1, 2)]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    read = times(path)
    assert len(read) == 40
    assert all(later > earlier for earlier, later in itertools.pairwise(read))


def test_a_browsers_recording_has_a_usual_rate(tmp_path):
    """It has no rate in its header, and FFmpeg guesses that of its clock, so that hardly a frame was searched."""
    distances = np.random.default_rng(0).integers(20, 46, 60)  # milliseconds
    ticks = (distances.cumsum() / 1000 / float(TIME_BASE)).round().astype(int)
    path = write_video(tmp_path / "a.mkv", ticks.tolist(), sound=None)
    content = bytearray(path.read_bytes())
    place = content.index(
        b"\x23\xe3\x83\x84"
    )  # the duration of a frame, 4 bytes: made a void of the same length
    content[place : place + 8] = b"\xec\x86" + bytes(6)
    path.write_bytes(content)
    with VideoReader(path) as video:
        assert video.rate == 25
        assert len(list(video)) == 60


def test_errors_are_one_sentence(tmp_path):
    song = tmp_path / "song.m4a"
    import av

    with av.open(str(song), "w", format="mp4") as file:
        audio = file.add_stream("aac", rate=16_000)
        audio.layout = "mono"
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), layout="mono")
        tone.sample_rate, tone.pts = 16_000, 0
        file.mux(audio.encode(tone))
        file.mux(audio.encode())
    no_index = tmp_path / "no-index.mp4"
    no_index.write_bytes(write_video(tmp_path / "a.mp4", STEADY).read_bytes()[:2000])
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 50)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/a.mp4\n#EXT-X-ENDLIST\n")
    for path, said in (
        (song, "has no video stream"),
        (no_index, "truncated"),
        (text, "cannot be read as a video"),
        (playlist, "cannot be read as a video"),
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "a folder, not a file"),
    ):
        with pytest.raises(InputError, match=said) as failure, VideoReader(path) as video:
            list(video)
        assert str(path) in str(failure.value)
        assert "\n" not in str(failure.value)
        assert "Errno" not in str(failure.value)


def test_absurd_frames_are_refused_before_they_are_decoded(tmp_path):
    path = write_video(tmp_path / "a.mp4", STEADY)
    with pytest.raises(InputError, match="96 x 64"):
        VideoReader(path, max_pixels=1000)


def test_an_address_is_read_as_it_streams(tmp_path):
    content = write_video(tmp_path / "a.ts", STEADY, sound=None).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(content)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with VideoReader(address) as video:
            assert video.live
            assert video.duration_s is None
            assert len(list(video)) == 20
        thread.join()
    with pytest.raises(InputError, match="cannot be opened") as failure:
        VideoReader("rtsp://me:secret@127.0.0.1:9/front")
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_a_copy_keeps_times_and_every_byte_of_the_sound(name, tmp_path):
    path = write_video(tmp_path / name, VARYING)
    copy = tmp_path / "copy" / name
    with (
        VideoReader(path) as video,
        VideoWriter(copy, time_base=video.time_base, sound_of=str(path)) as writer,
    ):
        for frame in video:
            writer.write(255 - frame.pixels, frame.time_s)
    assert times(copy) == times(path)
    assert sound_packets(copy) == sound_packets(path)
    assert len(sound_packets(path)) > 20
    with VideoReader(copy) as video:
        for index, frame in enumerate(video):
            assert np.abs(frame.pixels.astype(int) - (255 - drawn(*place(index)))).mean() < 5
    assert list(copy.parent.iterdir()) == [copy]


def test_sound_stays_beside_its_picture_where_a_file_does_not_begin_at_nought(tmp_path):
    import av

    path = write_video(tmp_path / "a.ts", VARYING)
    copy = tmp_path / copy_name("a.ts")
    with (
        VideoReader(path) as video,
        VideoWriter(copy, time_base=video.time_base, sound_of=str(path)) as writer,
    ):
        for frame in video:
            writer.write(frame.pixels, frame.time_s)

    def lead(file: Path) -> float:
        """Seconds by which the sound begins before the picture."""
        with av.open(str(file)) as opened:
            first = {}
            for packet in opened.demux():
                if packet.pts is not None:
                    first.setdefault(packet.stream.type, float(packet.pts * packet.time_base))
        return first["video"] - first["audio"]

    assert lead(copy) == pytest.approx(lead(path), abs=2e-3)
    assert len(sound_packets(copy)) == len(sound_packets(path))


def test_a_video_does_not_replace_the_one_whose_sound_it_takes(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(0, 1536, 512))
    original = path.read_bytes()
    with pytest.raises(InputError, match=r"a\.mp4: would replace the video"):
        VideoWriter(path, sound_of=str(path))
    assert path.read_bytes() == original


def test_sound_that_is_damaged_does_not_cost_the_pictures(tmp_path):
    path = write_video(tmp_path / "a.mkv", STEADY)
    content = bytearray(path.read_bytes())
    audio = content.index(b"A_AAC")
    content[audio : audio + 5] = b"A_XYZ"
    path.write_bytes(content)
    copy = tmp_path / "copy.mkv"
    with VideoReader(path) as video, VideoWriter(copy, sound_of=str(path)) as writer:
        for frame in video:
            writer.write(frame.pixels, frame.time_s)
    assert len(times(copy)) == 20


def test_sound_that_the_container_does_not_take_is_left_out_and_told(tmp_path):
    path = write_video(tmp_path / "a.avi", range(0, 20 * 512, 512), sound="pcm_mulaw")
    for name in ("copy.mkv", "copy.mp4"):
        copy = tmp_path / name
        with VideoReader(path) as video, VideoWriter(copy, sound_of=str(path)) as writer:
            for frame in video:
                writer.write(frame.pixels, frame.time_s)
        assert "its sound cannot be copied" in writer.problem
        assert len(times(copy)) == 20


def test_odd_sizes_and_a_video_without_sound(tmp_path):
    copy = tmp_path / "a.mp4"
    with VideoWriter(copy) as writer:
        for index in range(5):
            writer.write(drawn(*place(index, (33, 21)), (33, 21)), index / 7)
    with VideoReader(copy) as video:
        frames = list(video)
        assert not video.has_sound
    assert frames[0].pixels.shape == (22, 34, 3)
    assert [f.time_s for f in frames] == pytest.approx([i / 7 for i in range(5)], abs=1e-5)
    assert np.abs(frames[0].pixels[:21, :33].astype(int) - drawn(0, 2, (33, 21))).mean() < 8


def test_nothing_half_written_is_left(tmp_path):
    copy = tmp_path / "out" / "a.mp4"
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(copy) as writer:
        writer.write(drawn(0, 0), 0.0)
        raise RuntimeError("stop")
    assert list(copy.parent.iterdir()) == []
    with pytest.raises(InputError, match="no picture"), VideoWriter(copy):
        pass
    assert list(copy.parent.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a folder is needed"):
        VideoWriter(tmp_path / "file" / "a.mp4").__enter__()
    with pytest.raises(InputError, match=r"\.mp4"):
        VideoWriter(tmp_path / "a.gif")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="a disk that is full is Linux's /dev/full"
)
def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    import contextlib

    from mien.errors import writing_to
    from mien.recognise import video_writer

    @contextlib.contextmanager
    def full(path):
        with writing_to(path), Path("/dev/full").open("wb", buffering=0) as handle:
            yield handle

    monkeypatch.setattr(video_writer, "atomic_file", full)
    with (
        pytest.raises(InputError, match="the disk is full"),
        VideoWriter(tmp_path / "a.mkv") as writer,
    ):
        for index in range(200):
            writer.write(
                np.random.default_rng(index).integers(0, 255, (64, 96, 3), np.uint8), index
            )


def test_without_its_extra_the_install_command_is_named(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", STEADY)
    monkeypatch.setitem(sys.modules, "av", None)
    for use in (lambda: VideoReader(path), lambda: VideoWriter(tmp_path / "b.mp4")):
        with pytest.raises(MissingExtraError, match=r"pip install 'mien\[video\]'"):
            use()


def test_frames_outlive_the_file_and_a_closed_file_gives_no_more(tmp_path):
    with VideoReader(write_video(tmp_path / "a.mp4", STEADY)) as video:
        frames = iter(video)
        first = next(frames)
    assert first.pixels.shape == (SIZE[1], SIZE[0], 3)
    assert len(list(frames)) < 20


def test_a_time_base_that_no_encoder_has_is_no_matter(tmp_path):
    copy = tmp_path / "a.mp4"
    with VideoWriter(copy, time_base=Fraction(1, 1_000_000)) as writer:
        for index in range(3):
            writer.write(drawn(0, 0), index * 0.04)
    assert times(copy) == pytest.approx([0, 0.04, 0.08], abs=1e-5)


def mutated(content, rng):
    """A file with some bytes changed, taken out or put in, or its end cut off."""
    damaged = bytearray(content)
    for _ in range(rng.choice([1, 3, 20])):
        place = rng.randrange(len(damaged) if rng.random() < 0.5 else min(len(damaged), 3000))
        kind = rng.random()
        if kind < 0.5:
            damaged[place] = rng.randrange(256)
        elif kind < 0.7:
            damaged[place : place + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        elif kind < 0.8:
            del damaged[place : place + rng.randrange(1, 50)]
        elif kind < 0.9:
            damaged[place:place] = rng.randbytes(rng.randrange(1, 30))
        else:
            del damaged[max(100, place) :]
    return damaged


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_whatever_is_damaged_there_is_a_copy_or_a_sentence(name, tmp_path):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    ticks = range(12) if codec == "mpeg4" else range(0, 512 * 12, 512)
    content = write_video(tmp_path / name, ticks, codec=codec).read_bytes()
    rng = random.Random(0)
    path, copy = tmp_path / f"damaged-{name}", tmp_path / "copy.mkv"
    refused = 0
    for _ in range(500):
        path.write_bytes(mutated(content, rng))
        copy.unlink(missing_ok=True)
        try:
            with (
                VideoReader(path, threads=1) as video,
                VideoWriter(copy, time_base=video.time_base, sound_of=str(path)) as writer,
            ):
                for frame in video:
                    writer.write(frame.pixels, frame.time_s)
        except InputError as error:
            refused += 1
            said = str(error)
        else:
            said = ""
        assert copy.exists() == (not said)
        assert "\n" not in said
    assert 20 < refused < 480


def test_a_stamp_that_leaps_in_a_transport_stream_is_told(tmp_path):
    path = write_video(
        tmp_path / "a.ts", [*STEADY[:10], *(t + 512 * 10_000 for t in STEADY[10:])], sound=None
    )
    with VideoReader(path) as video:
        list(video)
    assert video.problem is not None
    assert "time stamps leap" in video.problem


def test_a_video_that_was_read_is_not_told_to_be_damaged(tmp_path):
    film = write_video(tmp_path / "film.mp4", range(0, 300, 100), sound=None)
    with VideoReader(film) as video:
        assert len(list(video)) == 3
        with pytest.raises(InputError, match=r"film\.mp4: read or closed already; open it again"):
            list(video)

    closed = VideoReader(film)
    closed.close()
    with pytest.raises(InputError, match="open it again"):
        list(closed)
