"""Writing videos through PyAV: pictures with their exact times, and the sound of the original video."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, extra_required
from mien.files import atomic_file, same_file
from mien.recognise.media import SourceError
from mien.recognise.video import open_file

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import OutputContainer

#: Suffix -> FFmpeg's name of the container. Copies of all other videos become Matroska, which takes
#: most audio codecs.
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
#: H.264 plays everywhere; FFmpeg without x264 has the older MPEG-4. No B-frames (bf): they would be stored out of
#: order, which changes times.
_ENCODERS = {
    "libx264": {"preset": "superfast", "crf": "21", "bf": "0"},
    "mpeg4": {"qscale": "3", "bf": "0"},
}
#: The finest time base that MPEG-4 has.
_FINEST = 65_535
#: FFmpeg's numbers for the colour matrix and range of OpenCV's YUV (BT.601, 16..235).
_BT601, _LIMITED = 6, 1


def copy_name(name: str) -> str:
    """The file name for a copy of a video: the same name if its container can be written, else with .mkv added.

    >>> copy_name("holiday.mov"), copy_name("talk.webm")
    ('holiday.mov', 'talk.webm.mkv')
    """
    return name if Path(name).suffix.lower() in _FORMATS else f"{name}.mkv"


class VideoWriter:
    """Writes a video frame by frame: a context manager. The file appears when the block ends without an error.

    Sound is copied packet by packet without decoding it, in step with the pictures: so without loss, in
    little memory.

    Attributes:
        problem: a sentence if the sound could not be copied (the pictures are written in any case); else None.

    Args:
        path: the file: .mp4, .m4v, .mov or .mkv.
        time_base: unit of times in seconds; that of the `VideoReader`, so that no time is rounded.
        sound_of: the video file to copy the sound from; None is no sound.

    Raises:
        InputError: the suffix is another one, `path` is `sound_of`, or the file cannot be written.
        MissingExtraError: the extra `video` is not installed.

    >>> with VideoWriter(Path("marked.mp4")) as video:  # doctest: +SKIP
    ...     video.write(np.zeros((480, 640, 3), np.uint8), time_s=0.0)
    """

    def __init__(
        self, path: Path, *, time_base: Fraction = Fraction(1, 90_000), sound_of: str | None = None
    ) -> None:
        with extra_required("video", "writing videos"):
            import av
        if path.suffix.lower() not in _FORMATS:
            raise InputError(f"{path}: videos are written as {', '.join(_FORMATS)}")
        if sound_of is not None and same_file(path, sound_of):
            raise InputError(
                f"{path}: would replace the video that the sound comes from; choose another name"
            )
        self._path = path
        self._encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        if self._encoder == "mpeg4":
            time_base = max(time_base, Fraction(1, _FINEST)).limit_denominator(_FINEST)
        self._time_base = time_base
        self._sound_of = sound_of
        self._size: tuple[int, int] | None = None  # height and width of the first picture
        self._last = -1
        self._sound: _Sound | None = None
        self.problem: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._handle = self._stack.enter_context(atomic_file(self._path))
        self._stack.push(self._end)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def write(self, picture: NDArray[np.uint8], time_s: float) -> None:
        """Add a picture.

        Args:
            picture: uint8 RGB (H, W, 3), of the same size as the first one.
            time_s: seconds from the beginning at which it is shown.

        Raises:
            ValueError: its size is another one.
            InputError: the video cannot be written.
        """
        if self._size is None:
            self._size = picture.shape[0], picture.shape[1]
            with self._in_words():
                self._begin()
        if picture.shape[:2] != self._size:
            raise ValueError(f"a picture of {picture.shape[:2]} in a video of {self._size}")
        shown = _converted(picture)
        self._last = max(self._last + 1, round(time_s / self._time_base))
        shown.pts, shown.time_base = self._last, self._time_base
        with self._in_words():
            self._mux(self._video.encode(shown), time_s)

    def _begin(self) -> None:
        """Write the file's header; this has to wait for the first picture, which gives the size."""
        from av.error import FFmpegError

        try:
            self._declare(self._sound_of)
        except (
            FFmpegError,
            ValueError,
        ) as error:  # ValueError: the container lacks the sound's codec
            if self._sound_of is None or isinstance(error, OSError):
                raise
            self.problem = f"{self._sound_of}: its sound cannot be copied; convert it to AAC"
            self._handle.seek(0)
            self._handle.truncate()
            self._declare(None)

    def _declare(self, sound_of: str | None) -> None:
        import av

        height, width = self._size or (0, 0)
        self._container = av.open(self._handle, "w", format=_FORMATS[self._path.suffix.lower()])
        video = cast("VideoStream", self._container.add_stream(self._encoder))
        video.options = dict(_ENCODERS[self._encoder])
        video.width, video.height, video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        video.codec_context.time_base = self._time_base
        video.codec_context.colorspace, video.codec_context.color_range = _BT601, _LIMITED
        self._video = video
        self._sound = None if sound_of is None else _Sound(sound_of, self._container)
        self._container.start_encoding()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turn FFmpeg's errors into one sentence each; those of the operating system pass through."""
        from av.error import FFmpegError

        try:
            yield
        except FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise SourceError(
                f"{self._path}: cannot be written as a video ({error.strerror}); the source may be "
                "damaged"
            ) from error

    def _mux(self, pictures: list[Packet[Any]], time_s: float) -> None:
        """Write packets of pictures, and those of sound up to a time in seconds."""
        from av.error import FFmpegError

        sounds = self._sound.until(time_s) if self._sound is not None else ()
        for packet in itertools.chain(pictures, sounds):
            try:
                self._container.mux(packet)
            except FFmpegError as error:
                # FFmpeg interleaves: it holds packets of sound, so their fault may show when a picture is written.
                if self._sound is None or isinstance(error, OSError):
                    raise
                self.problem = f"{self._sound_of}: its sound is damaged and was copied in part"

    def _end(self, _kind: object, error: object, _trace: object) -> None:
        """Flush encoder and sound, and write the file's index; after an error, only close the file."""
        if self._size is None:
            if error is None:
                raise InputError(f"{self._path}: no picture was given, so there is no video")
            return
        try:
            with self._in_words():
                if error is None:
                    self._mux(self._video.encode(), math.inf)
                self._container.close()
        except Exception:
            if error is None:
                raise
        finally:
            if self._sound is not None:
                self._sound.close()


class _Sound:
    """Reads a file's packets of sound for another file, with times from the file's beginning."""

    def __init__(self, source: str, into: OutputContainer) -> None:
        self._source = open_file(source)
        streams = [one for one in self._source.streams.audio if one.codec_context is not None]
        self._streams = {one.index: into.add_stream_from_template(one) for one in streams}
        self._packets = self._source.demux(*streams) if streams else iter(())
        self._start_s = Fraction(self._source.start_time or 0, 1_000_000)
        self._last = dict.fromkeys(self._streams, -math.inf)
        self._next = self._read()

    def until(self, time_s: float) -> Iterator[Packet[Any]]:
        """Yield the next packets up to a time in seconds."""
        while self._next is not None and self._next[0] <= time_s:
            packet = self._next[1]
            packet.stream = self._streams[packet.stream_index]
            yield packet
            self._next = self._read()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _read(self) -> tuple[float, Packet[Any]] | None:
        """The next packet and its time in seconds; None after the last one, or if the file is truncated."""
        from av.error import FFmpegError

        try:
            for packet in self._packets:
                if packet.dts is None:  # the end of a stream
                    continue
                shift = round(self._start_s / packet.time_base)
                packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
                packet.dts -= shift
                if not self._last[packet.stream_index] < packet.dts <= packet.pts:
                    continue  # damaged: FFmpeg refuses packets whose times do not grow
                self._last[packet.stream_index] = packet.dts
                return float(packet.dts * packet.time_base), packet
        except FFmpegError:
            pass
        return None


def _converted(picture: NDArray[np.uint8]) -> VideoFrame:
    """Convert RGB to YUV 4:2:0 (BT.601) for the encoder; an odd height or width is padded by repeating the border."""
    import av
    import cv2  # its conversion is eight times as fast as FFmpeg's

    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    yuv = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
    return av.VideoFrame.from_ndarray(yuv, format="yuv420p")
