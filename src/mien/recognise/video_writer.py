"""Writing videos through PyAV: pictures at their true times, beside the sound of the video they are of."""

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
from mien.files import atomic_file
from mien.recognise.media import SourceError
from mien.recognise.video import open_file

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

    `problem` says in a sentence if the sound could not be copied; the pictures are written all the same.

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
        """Add a picture, uint8 RGB (H, W, 3), shown from `time_s` on; all are of one size."""
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
        """Say what the file holds; its head cannot be written before the size is known."""
        from av.error import FFmpegError

        try:
            self._declare(self._sound_of)
        except FFmpegError as error:
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
        """Turn what FFmpeg will not write into one sentence; the system's refusals pass."""
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
        """Write pictures, and the sound beside them up to a time."""
        from av.error import FFmpegError

        sounds = self._sound.until(time_s) if self._sound is not None else ()
        for packet in itertools.chain(pictures, sounds):
            try:
                self._container.mux(packet)
            except FFmpegError as error:
                # A packet of sound waits for the pictures beside it: its fault may show in theirs.
                if self._sound is None or isinstance(error, OSError):
                    raise
                self.problem = f"{self._sound_of}: its sound is damaged and was copied in part"

    def _end(self, _kind: object, error: object, _trace: object) -> None:
        """Write what is left in encoder and sound, and the file's index; or just let go."""
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
    """A file's packets of sound for another, with times from the file's beginning."""

    def __init__(self, source: str, into: OutputContainer) -> None:
        self._source = open_file(source)
        streams = [one for one in self._source.streams.audio if one.codec_context is not None]
        self._streams = {one.index: into.add_stream_from_template(one) for one in streams}
        self._packets = self._source.demux(*streams) if streams else iter(())
        self._start_s = Fraction(self._source.start_time or 0, 1_000_000)
        self._last = dict.fromkeys(self._streams, -math.inf)
        self._next = self._read()

    def until(self, time_s: float) -> Iterator[Packet[Any]]:
        """What sounds up to a time, and was not given before."""
        while self._next is not None and self._next[0] <= time_s:
            packet = self._next[1]
            packet.stream = self._streams[packet.stream_index]
            yield packet
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
                if not self._last[packet.stream_index] < packet.dts <= packet.pts:
                    continue  # damaged: nobody could play it
                self._last[packet.stream_index] = packet.dts
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
