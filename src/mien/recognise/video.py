"""Reading videos through PyAV: every frame upright, with the time at which a player shows it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.decoding import MAX_PIXELS, check_size
from mien.errors import InputError, extra_required, one_line, reading_from
from mien.recognise.media import Frame, SourceError, is_address, without_password

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer

#: What is read: films, by FFmpeg's names of formats. Not among them is what names other files or addresses (concat,
#: hls, dash, sdp, image2), nor what nobody films with.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpeg", "mpegvideo", "mpegts", "asf", "flv",
    "ogg",
)  # fmt: skip
#: And codecs. A picture format is none of them: FFmpeg decodes such a stream while it still finds out its size.
CODECS = (
    "h264", "hevc", "vvc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "mpeg1video",
    "mpeg2video", "mjpeg", "h263", "h263p", "flv", "wmv1", "wmv2", "wmv3", "vc1", "msmpeg4", "msmpeg4v1", "msmpeg4v2",
    "theora", "prores", "dnxhd", "dvvideo", "huffyuv", "ffv1", "rawvideo",
    "aac", "aac_latm", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "opus", "libopus", "vorbis",
    "flac", "alac", "wmav1", "wmav2", "wmapro", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_u8", "pcm_mulaw",
    "pcm_alaw", "amrnb", "amrwb",
)  # fmt: skip
#: Streams of a file, sound and subtitles among them; each costs memory before anything is asked of it.
_MOST_STREAMS = 16
#: Frames a second, as a file says: it may say anything.
_SLOWEST, _FASTEST = Fraction(1, 10), Fraction(1000)
#: Formats that say in their head how long they are, by the first name that FFmpeg gives them.
_SAY_HOW_LONG = ("mov", "matroska", "avi", "flv", "asf")
#: A file whose packets end so many seconds before the end that its head promises is cut short.
_MISSING_S = 0.5
#: Seconds that an address may be silent.
_PATIENCE_S = 10.0
#: Stamps of a stream of packets that are so many seconds apart are not those of frames in a row.
_LEAP_S = 60.0
_USUAL_RATE = Fraction(25)
#: Pixels are never longer than so many times their other side; a file that says so is damaged.
_LONGEST = 4


class VideoReader:
    """The frames of a video file or of the address of a stream; a `Movie`, read once.

    Frames come in the order of display, with the rotation, mirroring and pixel shape that the file
    asks for. Times are the file's own, so a rate that varies stays as it is; where a file has no
    time for a frame, or one that does not grow, it is that of the frame before and one frame's
    usual duration. Where the size changes on the way, later frames are fitted into the first one's
    size, black beside them. What is damaged is left out. `problem` says so afterwards.

    Only the file itself is read, and only the usual formats and codecs: a playlist that names other files or
    addresses is refused.

    Attributes:
        name: what messages call it.
        live: whether it is an address, which sends its frames when it likes.
        rate: frames per second, on average where it varies, 0.1 to 1000 whatever the file says;
            time_base: what all times are multiples of, in seconds.
        duration_s: how long the file says it is; None for an address.
        has_sound: whether there is any beside the pictures.

    Args:
        source: a path or an address.
        max_pixels: videos with larger frames are refused before the first is decoded.
        threads: that decode; 0 is as many as there are cores.
        watch: is called for each packet that is read, shown or not; what it raises ends the reading.

    Raises:
        InputError: for what is no video, has no video stream, is not there, cannot be reached.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        max_pixels: int = MAX_PIXELS,
        threads: int = 0,
        watch: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = without_password(str(source))
        self.live = is_address(str(source))
        self.problem: str | None = None
        self._watch = watch
        self._container = _opened(str(source), self.name, self.live, max_pixels)
        self._closed = False
        try:
            self._look(max_pixels, threads)
        except BaseException:
            self.close()
            raise

    def _look(self, max_pixels: int, threads: int) -> None:
        from av.stream import Disposition
        from av.video.reformatter import VideoReformatter

        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic  # the cover of a song
        ]
        if not streams:
            raise InputError(f"{self.name}: has no video stream; give a video, or a picture")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None:
            raise InputError(f"{self.name}: a codec that is not known here; convert it to H.264")
        if codec.name not in CODECS:
            raise InputError(
                f"{self.name}: the codec {codec.name} is not read here; convert it to H.264"
            )
        if codec.width and codec.height:  # not every stream says it before its first frame
            check_size((codec.width, codec.height), f"{self.name}, a frame", max_pixels)
        codec.options = {"max_pixels": str(max_pixels)}
        codec.thread_count = threads
        codec.thread_type = "AUTO"
        # All that is asked for later is noted now: FFmpeg's own memory ends with `close`.
        # Fractions, whatever kind of rational number this version of PyAV has.
        rate = Fraction(stream.average_rate or stream.guessed_rate or _USUAL_RATE)
        self.rate = min(max(rate, _SLOWEST), _FASTEST)
        self.time_base = Fraction(stream.time_base or 1 / self.rate)
        duration = self._container.duration
        self.duration_s = None if duration is None or self.live else duration / 1e6
        self.has_sound = bool(self._container.streams.audio)
        self._stream = stream
        self._start_s = (self._container.start_time or 0) / 1e6
        shape = Fraction(stream.sample_aspect_ratio or 1)
        self._shape = shape if 1 / _LONGEST <= shape <= _LONGEST else Fraction(1)
        self._converter = VideoReformatter()
        self._one_at_a_time = Lock()  # frames may be asked for their pixels in any thread
        self._size: tuple[int, int] | None = None  # width and height before turning
        self._damaged = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; frames that were given keep their pixels."""
        self._closed = True
        self._container.close()

    def __iter__(self) -> Generator[Frame]:
        """The frames; InputError where there is not one."""
        time_s, index = -1.0, 0
        for decoded in self._decoded():
            before, own = time_s, decoded.time
            time_s = own - self._start_s if own is not None else before
            if index and not self._says_how_long() and not -1 < time_s - before < _LEAP_S:
                self._note_leap(before, time_s)
            if time_s <= before:
                time_s = before + float(1 / self.rate) if index else 0.0
            if self._size is None:
                self._size = decoded.width, decoded.height
            elif (decoded.width, decoded.height) != self._size and self.problem is None:
                self.problem = (
                    f"{self.name}: its size changes from {self._size[0]} x {self._size[1]} to "
                    f"{decoded.width} x {decoded.height} pixels at {time_s:.1f} s; what follows was "
                    "fitted into the first size"
                )
            size = sum(plane.buffer_size for plane in decoded.planes)
            yield Frame(index, time_s, partial(self._pixels, decoded), size)
            index += 1
        if index == 0:
            raise SourceError(
                f"{self.name}: no frame can be decoded; it is damaged or cut short, copy it again"
            )

    def _decoded(self) -> Iterator[VideoFrame]:
        """What the decoder makes of the packets, to the end or to where the file is cut."""
        from av.error import FFmpegError

        ended_s, why = 0.0, ""
        packets = self._container.demux()
        while not self._closed:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                why = one_line(error)
                break
            self._watch()
            if packet is None:
                break
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                ended_s = max(ended_s, end - self._start_s)
            if packet.stream is self._stream:
                yield from self._of_packet(packet)
        promised_s = self.duration_s if self._says_how_long() else None
        if why or (promised_s is not None and promised_s - ended_s > _MISSING_S):
            promised = "" if promised_s is None else f" of {promised_s:.1f} s"
            self.problem = (
                f"{self.name}: cut short after {ended_s:.1f}{promised or ' s'}"
                f"{f' ({why})' if why else ''}; what there is was done, copy it again for the rest"
            )
        elif self._damaged and self.problem is None:
            self.problem = f"{self.name}: damaged in {self._damaged:,} places, which were left out; copy it again"

    def _note_leap(self, before: float, now: float) -> None:
        self.problem = self.problem or (
            f"{self.name}: its time stamps leap from {before:,.1f} to {now:,.1f} s; one is damaged or "
            "films were joined: do not trust the times that follow"
        )

    def _of_packet(self, packet: Packet[Any]) -> Iterator[VideoFrame]:
        from av.error import FFmpegError

        try:
            decoded = packet.decode()
        except FFmpegError:
            self._damaged += 1
            return
        yield from decoded

    def _says_how_long(self) -> bool:
        return self._container.format.name.split(",")[0] in _SAY_HOW_LONG

    def _pixels(self, decoded: VideoFrame) -> NDArray[np.uint8]:
        """Upright RGB in the size of the first frame."""
        first_width, first_height = self._size or (decoded.width, decoded.height)
        fit = min(first_width / decoded.width, first_height / decoded.height)
        width, height = round(decoded.width * fit), round(decoded.height * fit)
        with self._one_at_a_time:
            shown = self._converter.reformat(decoded, round(width * self._shape), height, "rgb24")
        rgb = shown.to_ndarray().astype(np.uint8, copy=False)
        if (width, height) != (first_width, first_height):
            picture = np.zeros((first_height, round(first_width * self._shape), 3), np.uint8)
            picture[: rgb.shape[0], : rgb.shape[1]] = rgb
            rgb = picture
        return upright(rgb, _matrix(decoded))


def upright(picture: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Turn and mirror a picture (H, W, 3) as a display matrix asks, to the next quarter turn.

    Args:
        picture: as decoded.
        matrix: (a, b, c, d), with x right and y down: a point (x, y) is shown at
            (a x + c y, b x + d y). (0, 1, -1, 0) is what a telephone held upright writes: shown
            turned clockwise by a quarter.
    """
    a, b, c, d = matrix
    if abs(b) > abs(a):
        picture = picture.swapaxes(0, 1)
        a, d = c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _matrix(decoded: VideoFrame) -> tuple[int, int, int, int]:
    """The part of the frame's display matrix that turns; that of a frame shown as it is, without one."""
    data = decoded.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (int(value) for value in np.frombuffer(data, np.int32)[:5])  # type: ignore[call-overload]
    return a, b, c, d


def open_file(path: str | Path, max_pixels: int = MAX_PIXELS) -> InputContainer:
    """Open a video file for reading; FFmpeg's own errors where it cannot.

    Nothing but this file is read, whatever names or addresses stand in it. To find out what it is FFmpeg decodes
    its first frames, so the limits are given here and not after.
    """
    import av

    # Absolute, so that no file name is taken for a protocol.
    name = str(Path(path).expanduser().absolute())
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(FORMATS),
        "codec_whitelist": ",".join(CODECS),
        "max_streams": str(_MOST_STREAMS),
        "max_pixels": str(max_pixels),
        "threads": "1",
    }
    opened: InputContainer = av.open(name, options=options, **_any_names())
    return opened


def _any_names() -> dict[str, Any]:
    """What lets PyAV open files in which names are no text: from version 19 on it does so by itself."""
    import av

    return {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


def _opened(source: str, name: str, live: bool, max_pixels: int) -> InputContainer:
    with extra_required("video", "reading videos"):
        import av
        from av.error import FFmpegError
    if live:
        options = {"max_pixels": str(max_pixels)}
        if source.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        try:
            stream: InputContainer = av.open(
                source, options=options, timeout=_PATIENCE_S, **_any_names()
            )
            return stream
        except (FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"{name}: cannot be opened ({_why(error, source)}); check the address and that it is on"
            ) from error
    path = Path(source).expanduser()
    with reading_from(name):
        with path.open("rb"):  # the system's own reasons, in its own words
            pass
        try:
            return open_file(path, max_pixels)
        except FFmpegError as error:
            raise InputError(
                f"{name}: cannot be read as a video ({_why(error, source)}): it is none of a usual "
                "format, or was cut short; convert it to MP4, or copy it again"
            ) from error


def _why(error: Exception, source: str) -> str:
    """FFmpeg's reason without number and path."""
    return getattr(error, "strerror", None) or one_line(error).replace(source, "")
