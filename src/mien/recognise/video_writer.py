"""Writing videos through PyAV: pictures at their true times, beside the sound of the video they are of."""

from __future__ import annotations

import math
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, extra_required
from mien.files import atomic_file

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import OutputContainer

#: What each suffix is to FFmpeg. Matroska takes every kind of sound, so it takes all the others too.
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
#: H.264 plays everywhere; builds of FFmpeg without x264 have the older MPEG-4. No frame is stored
#: before one that it follows (bf), so that times are written as they are.
_ENCODERS = {
    "libx264": {"preset": "superfast", "crf": "21", "bf": "0"},
    "mpeg4": {"qscale": "3", "bf": "0"},
}
#: The finest time base that MPEG-4 has.
_FINEST = 65_535
#: FFmpeg's numbers for the matrix and range of what OpenCV converts to (BT.601, 16..235).
_BT601, _LIMITED = 6, 1


def copy_name(name: str) -> str:
    """What the copy of a video is called: it keeps its container where that can be written.

    >>> copy_name("holiday.mov"), copy_name("talk.webm")
    ('holiday.mov', 'talk.webm.mkv')
    """
    return name if Path(name).suffix.lower() in _FORMATS else f"{name}.mkv"


class VideoWriter:
    """Writes a video frame by frame; it appears at `path` when the block ends well, or not at all.

    Sound is copied packet by packet, undecoded, as the pictures go on: nothing of it is lost or held.

    Args:
        path: .mp4, .m4v, .mov or .mkv.
        time_base: the seconds that times are multiples of; a reader's, so that none is rounded.
        sound_of: the video file whose sound goes along; None is silence.

    Raises:
        InputError: for another suffix, and where it cannot be written.
    """

    def __init__(
        self, path: Path, *, time_base: Fraction = Fraction(1, 90_000), sound_of: str | None = None
    ) -> None:
        with extra_required("video", "writing videos"):
            import av
        if path.suffix.lower() not in _FORMATS:
            raise InputError(f"{path}: videos are written as {', '.join(_FORMATS)}")
        self._path = path
        self._encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        if self._encoder == "mpeg4":
            time_base = max(time_base, Fraction(1, _FINEST)).limit_denominator(_FINEST)
        self._time_base = time_base
        self._sound_of = sound_of
        self._size: tuple[int, int] | None = None  # height and width of the first picture
        self._last = -1
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._handle = self._stack.enter_context(atomic_file(self._path))
        self._stack.push(self._end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, picture: NDArray[np.uint8], time_s: float) -> None:
        """Add a picture, uint8 RGB (H, W, 3), shown from `time_s` on; all are of one size."""
        if self._size is None:
            self._size = picture.shape[0], picture.shape[1]
            self._begin()
        if picture.shape[:2] != self._size:
            raise ValueError(f"a picture of {picture.shape[:2]} in a video of {self._size}")
        shown = _converted(picture)
        self._last = max(self._last + 1, round(time_s / self._time_base))
        shown.pts, shown.time_base = self._last, self._time_base
        for packet in self._video.encode(shown):
            self._container.mux(packet)
        if self._sound is not None:
            self._sound.copy_until(time_s)

    def _begin(self) -> None:
        """Say what the file holds; its head cannot be written before the size is known."""
        import av

        height, width = self._size or (0, 0)
        self._container = av.open(self._handle, "w", format=_FORMATS[self._path.suffix.lower()])
        video = cast("VideoStream", self._container.add_stream(self._encoder))
        video.options = dict(_ENCODERS[self._encoder])
        video.width, video.height, video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        video.codec_context.time_base = self._time_base
        video.codec_context.colorspace, video.codec_context.color_range = _BT601, _LIMITED
        self._video = video
        self._sound = None if self._sound_of is None else _Sound(self._sound_of, self._container)

    def _end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left in encoder and sound, and the file's index; or just let go."""
        if self._size is None:
            if error is None:
                raise InputError(f"{self._path}: no picture was given, so there is no video")
            return
        try:
            if error is None:
                for packet in self._video.encode():
                    self._container.mux(packet)
                if self._sound is not None:
                    self._sound.copy_until(math.inf)
            self._container.close()
        except Exception:
            if error is None:
                raise
        finally:
            if self._sound is not None:
                self._sound.close()


class _Sound:
    """Copies a file's packets of sound into another, counted from the file's beginning."""

    def __init__(self, source: str, into: OutputContainer) -> None:
        import av

        self._source = av.open(str(Path(source).absolute()), options={"protocol_whitelist": "file"})
        self._into = into
        streams = self._source.streams.audio
        self._streams = {one.index: into.add_stream_from_template(one) for one in streams}
        self._packets = self._source.demux(*streams) if streams else iter(())
        self._start_s = Fraction(self._source.start_time or 0, 1_000_000)
        self._next = self._read()

    def copy_until(self, time_s: float) -> None:
        """Copy what sounds up to a time."""
        while self._next is not None and self._next[0] <= time_s:
            packet = self._next[1]
            packet.stream = self._streams[packet.stream_index]
            self._into.mux(packet)
            self._next = self._read()

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def _read(self) -> tuple[float, Packet[Any]] | None:
        """The next packet and its time; None after the last, and where the file is cut."""
        from av.error import FFmpegError

        try:
            for packet in self._packets:
                if packet.dts is None:  # the end of a stream
                    continue
                shift = round(self._start_s / packet.time_base)
                packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
                packet.dts -= shift
                return float(packet.dts * packet.time_base), packet
        except FFmpegError:
            pass
        return None


def _converted(picture: NDArray[np.uint8]) -> VideoFrame:
    """A picture as encoders take it, YUV 4:2:0 in BT.601; a row or column is repeated where it is odd."""
    import av
    import cv2  # eight times as fast as FFmpeg's own conversion

    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    yuv = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
    return av.VideoFrame.from_ndarray(yuv, format="yuv420p")
