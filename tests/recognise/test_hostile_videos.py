"""Videos made to do harm: small files that once took minutes, gigabytes or other files."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from make_videos import find_drawn, write_video

from mien.errors import InputError
from mien.recognise import stream, video
from mien.recognise.media import Frame
from mien.recognise.stream import follow, recognise_movie, usual_interval
from mien.recognise.video import VideoReader


def png(side: int) -> bytes:
    """A black PNG of 16 bits and four channels, some 8 bytes a pixel in memory and hardly any on the disk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    pixels = zlib.compress(bytes(side * (8 * side + 1)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def wrapped(path: Path, codec: str, packets: list[bytes], streams: int = 1) -> Path:
    """A file whose streams hold these packets."""
    with av.open(str(path), "w") as file:
        made = [file.add_stream(codec, rate=25) for _ in range(streams)]
        for one in made:
            one.width = one.height = 64
            one.pix_fmt = "yuv420p" if codec != "png" else "rgba"
        for number, content in enumerate(packets):
            for one in made:
                packet = av.Packet(content)
                packet.stream, packet.pts, packet.dts = one, number, number
                packet.time_base, packet.is_keyframe = Fraction(1, 25), number == 0
                file.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mov", "avi"])
def test_a_picture_in_the_place_of_a_film_is_not_decoded(tmp_path, suffix):
    path = wrapped(tmp_path / f"bomb.{suffix}", "png", [png(1000)])
    with pytest.raises(InputError, match="png is not supported"):
        VideoReader(path)


def test_more_streams_than_any_film_has_are_not_opened(tmp_path):
    """Each costs memory while FFmpeg looks for its size: four of them took 4.4 GB."""
    path = wrapped(tmp_path / "many.mkv", "mpeg4", [b"\0" * 50], streams=20)
    with video.open_file(path) as file:
        assert len(file.streams) == 16


def test_every_format_and_codec_that_films_come_in_is_on_the_list(tmp_path):
    for codec, suffix in [("libx264", "mp4"), ("mpeg4", "avi"), ("libvpx", "webm"), ("flv", "flv"),
                          ("wmv2", "wmv"), ("mpeg2video", "mpg"), ("mpeg2video", "ts"), ("libx264", "3gp"),
                          ("mjpeg", "mov")]:  # fmt: skip
        path = tmp_path / f"{codec}.{suffix}"
        with av.open(str(path), "w") as file:
            film = file.add_stream(codec, rate=25)
            film.width, film.height = 96, 64
            film.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for _ in range(12):
                file.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8))))
            file.mux(film.encode())
        with VideoReader(path) as reader:
            assert len(list(reader)) == 12, codec


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile real.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nreal.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ],
    ids=["concat", "hls", "sdp", "dash"],
)
def test_what_names_other_files_is_refused_before_they_are_opened(tmp_path, text):
    write_video(tmp_path / "real.mp4", [0, 512, 1024])
    path = tmp_path / "upload.mp4"
    path.write_text(text)
    with pytest.raises(InputError, match="cannot be read as a video"):
        VideoReader(path)


@pytest.mark.parametrize(("said", "rate"), [(50_000, 1000), (Fraction(1, 1000), Fraction(1, 10))])
def test_a_rate_that_no_film_has_is_not_believed(tmp_path, said, rate):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as file:
        film = file.add_stream("mpeg4", rate=said)
        film.width, film.height, film.pix_fmt = 96, 64, "yuv420p"
        film.codec_context.time_base = Fraction(1, 1) / min(said, 1000)
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8))
            frame.pts = index
            file.mux(film.encode(frame))
        file.mux(film.encode())
    with VideoReader(path) as reader:
        assert reader.rate == rate
        assert usual_interval(reader) <= 100


def endless(held: int = 1000):
    """Frames, and how many of them are kept by somebody."""
    for index in range(10**9):
        yield Frame(index, index / 25, lambda: np.zeros((64, 96, 3), np.uint8), held)


def test_frames_that_wait_without_pixels_are_few_bytes_and_a_limited_number(monkeypatch):
    monkeypatch.setattr(stream, "_MOST_WAITING", 10)
    looks = []
    followed = follow(endless(), lambda picture: looks.append(1) or [], every=10**9, pixels=False)
    seen = [frame for frame, _ in islice(followed, 31)]
    assert [frame.index for frame in seen] == list(range(31))
    assert [frame.index for frame in seen if frame.looked_at] == [0, 10, 20, 30]
    with pytest.raises(ValueError, match="not kept"):
        _ = seen[1].pixels


def test_frames_that_wait_with_pixels_are_bounded_by_bytes(monkeypatch):
    monkeypatch.setattr(stream, "_WAITING_BYTES", 4500)
    followed = follow(endless(), find_drawn, every=10**9)
    seen = [frame for frame, _ in islice(followed, 16)]
    assert [frame.index for frame in seen if frame.looked_at] == [0, 5, 10, 15]
    assert seen[1].pixels.shape == (64, 96, 3)


def test_only_looks_and_copies_make_pixels(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        VideoReader, "_pixels", lambda _, frame: made.append(1) or np.zeros((64, 96, 3), np.uint8)
    )
    path = write_video(tmp_path / "film.mp4", [512 * index for index in range(12)])
    with VideoReader(path) as reader:
        done = recognise_movie(reader, find_drawn, every=4)
    assert (done.frames, done.looked_at, len(made)) == (12, 3, 3)


def test_packets_without_a_frame_are_watched(tmp_path):
    """A film of 300,000 packets that show nothing ran for 98 s with a limit of 2 s."""
    film = write_video(tmp_path / "film.webm", [0, 512], codec="libvpx", sound=None)
    with av.open(str(film)) as file:
        first, second = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    hidden = (
        bytes([second[0] & ~0x10]) + second[1:]
    )  # RFC 6386, 9.1: the bit says whether a frame is shown
    path = wrapped(tmp_path / "hidden.mkv", "libvpx", [first] + [hidden] * 200)
    count = 0

    def watch():
        nonlocal count
        count += 1
        if count > 50:
            raise TimeoutError

    shown = 0
    with VideoReader(path, watch=watch) as reader, pytest.raises(TimeoutError):
        for _ in reader:
            shown += 1
    assert shown <= 2


def test_limits_are_known_before_the_first_frame_is_decoded(tmp_path, monkeypatch):
    asked = {}
    real = av.open

    def opened(*arguments, **options):
        asked.update(options.get("options", {}))
        return real(*arguments, **options)

    monkeypatch.setattr(av, "open", opened)
    VideoReader(write_video(tmp_path / "film.mp4", [0, 512]), max_pixels=10_000).close()
    assert asked["max_pixels"] == "10000"
    assert "concat" not in asked["format_whitelist"]
    assert not set(video.CODECS) & {"png", "tiff", "gif", "webp", "exr", "ansi", "jpeg2000"}
