"""Reading videos through PyAV: frames are upright, and have the time at which a player shows them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.decoding import MAX_PIXELS, check_size
from mien.errors import InputError, extra_required, one_line, reading_from
from mien.files import from_home
from mien.recognise.media import Frame, Movie, SourceError, is_address, without_password

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer

#: Accepted containers, by FFmpeg's names. For safety without those that refer to other files or URLs (concat, hls,
#: dash, sdp, image2), and without those that are no videos.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpeg", "mpegvideo", "mpegts", "asf", "flv",
    "ogg",
)  # fmt: skip
#: Accepted codecs. Without picture formats: FFmpeg decodes these when it opens a file, before sizes can be checked.
CODECS = (
    "h264", "hevc", "vvc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "mpeg1video",
    "mpeg2video", "mjpeg", "h263", "h263p", "flv", "wmv1", "wmv2", "wmv3", "vc1", "msmpeg4", "msmpeg4v1", "msmpeg4v2",
    "theora", "prores", "dnxhd", "dvvideo", "huffyuv", "ffv1", "rawvideo",
    "aac", "aac_latm", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "opus", "libopus", "vorbis",
    "flac", "alac", "wmav1", "wmav2", "wmapro", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_u8", "pcm_mulaw",
    "pcm_alaw", "amrnb", "amrwb",
)  # fmt: skip
#: Most streams of a file, including sound and subtitles: FFmpeg allocates memory for each when it opens the file.
_MOST_STREAMS = 16
#: Range of frame rates: a damaged or hostile file may state any rate.
_SLOWEST, _FASTEST = Fraction(1, 10), Fraction(1000)
#: Without an average rate in the file, FFmpeg guesses one from distances of time stamps: 1000 for recordings of
#: browsers, whose stamps are irregular milliseconds. A higher guess than this is not taken.
_LARGEST_GUESS = Fraction(120)
#: Containers whose header has the duration, by the first of FFmpeg's names for them.
_SAY_HOW_LONG = ("mov", "matroska", "avi", "flv", "asf")
#: A file is truncated if its packets end more than so many seconds before the duration in its header.
_MISSING_S = 0.5
#: Seconds that a stream may send nothing.
_PATIENCE_S = 10.0
#: Time stamps of consecutive frames that are more seconds apart are faulty.
_LEAP_S = 60.0
_USUAL_RATE = Fraction(25)
#: Largest aspect ratio of a pixel, either way; beyond, the file is damaged and pixels count as square.
_LONGEST = 4


class VideoReader(Movie):
    """Reads the frames of a video file or of a stream's URL; a `Movie`, to be read once.

    Frames come in display order, with the file's rotation, mirroring and pixel aspect ratio applied.
    Times are the file's own, so variable frame rates are kept; if a frame has no time, or one that does
    not grow, it gets the time of the frame before plus one frame's usual duration. If the size changes,
    later frames are fitted into the first frame's size with black borders. Damaged parts are skipped.
    `problem` reports this afterwards.

    Only the file itself is read, and only with common formats and codecs: a playlist that refers to
    other files or URLs is refused.

    Attributes:
        name: the name in messages.
        live: the source is a URL, whose frames arrive in real time.
        rate: average frames per second, limited to 0.1..1000; time_base: unit of all times in seconds.
        duration_s: the duration in the file's header, in seconds; None for a URL.
        has_sound: the source has an audio stream.
        problem: after the last frame, a sentence if a part could not be read correctly; else None.

    Args:
        source: a path or URL.
        max_pixels: videos with larger frames are refused before the first one is decoded.
        threads: threads that decode; 0 is one for each core.
        watch: called for each packet, whether it is shown or not; an exception from it ends the reading.

    Raises:
        InputError: the source is missing, cannot be reached, or is not a video.

    >>> with VideoReader("holiday.mp4") as video:  # doctest: +SKIP
    ...     for frame in video:
    ...         print(frame.time_s, frame.pixels.shape)
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
        self._watch = watch
        self._container = _opened(str(source), self.name, self.live, max_pixels)
        self._begun = self._closed = False
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
            if not stream.disposition & Disposition.attached_pic  # album art of a music file
        ]
        if not streams:
            raise InputError(f"{self.name}: has no video stream; give a video, or a picture")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None:
            raise InputError(f"{self.name}: its codec is unknown; convert it to H.264")
        if codec.name not in CODECS:
            raise InputError(
                f"{self.name}: the codec {codec.name} is not supported; convert it to H.264"
            )
        if codec.width and codec.height:  # some streams give it only with their first frame
            check_size((codec.width, codec.height), f"{self.name}, a frame", max_pixels)
        # The size may change within a stream: FFmpeg checks each frame before it allocates memory.
        codec.options = {"max_pixels": str(max_pixels)}
        codec.thread_count = threads
        codec.thread_type = "AUTO"
        # Copy all values that are needed later: PyAV's objects must not be used after `close`.
        # Convert to Fraction: PyAV's type of rational numbers differs between its versions.
        guess = stream.guessed_rate
        if guess is None or guess > _LARGEST_GUESS:
            guess = _USUAL_RATE
        rate = Fraction(stream.average_rate or guess)
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

    def close(self) -> None:
        """Close the file; frames that were yielded keep their pixels."""
        self._closed = True
        self._container.close()

    def __iter__(self) -> Generator[Frame]:
        """Yield the frames.

        Raises:
            InputError: they were read already, or the file is closed.
            SourceError: not one can be decoded.
        """
        if self._begun or self._closed:
            raise InputError(f"{self.name}: read or closed already; open it again for its frames")
        self._begun = True
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
                    f"{decoded.width} x {decoded.height} pixels at {time_s:.1f} s; later frames were "
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
        """Yield the decoded frames up to the end, or to the point at which the file is truncated."""
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
                f"{f' ({why})' if why else ''}; this part was processed, copy the file again for the rest"
            )
        elif self._damaged and self.problem is None:
            places = (
                f"{self._damaged:,} places, which were"
                if self._damaged > 1
                else "1 place, which was"
            )
            self.problem = f"{self.name}: damaged in {places} left out; copy it again"

    def _note_leap(self, before: float, now: float) -> None:
        self.problem = self.problem or (
            f"{self.name}: its time stamps leap from {before:,.1f} to {now:,.1f} s; one is damaged or "
            "videos were joined: do not trust the times after it"
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
        """Convert a frame to upright uint8 RGB (H, W, 3) in the size of the first frame."""
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
    """Turn and mirror a picture by a display matrix, rounded to quarter turns.

    Args:
        picture: uint8 (H, W, 3), as decoded.
        matrix: (a, b, c, d), with x right and y down: a point (x, y) is shown at
            (a x + c y, b x + d y). A telephone that is held upright writes (0, 1, -1, 0): a quarter
            turn clockwise.

    Returns:
        uint8 (H, W, 3), or (W, H, 3) after a quarter turn.
    """
    a, b, c, d = matrix
    if abs(b) > abs(a):
        picture = picture.swapaxes(0, 1)
        a, d = c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _matrix(decoded: VideoFrame) -> tuple[int, int, int, int]:
    """The 2 x 2 part of a frame's display matrix; the identity if it has none."""
    data = decoded.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (int(value) for value in np.frombuffer(data, np.int32)[:5])  # type: ignore[call-overload]
    return a, b, c, d


def open_file(path: str | Path, max_pixels: int = MAX_PIXELS) -> InputContainer:
    """Open a video file with PyAV.

    Only this file is read, even if it refers to other files or URLs. FFmpeg decodes the first frames when it opens
    a file, so all limits have to be set here.

    Raises:
        FFmpegError: it cannot be opened.
    """
    import av

    # An absolute path, as FFmpeg would take a name such as `http:x` for a protocol.
    name = str(from_home(path).absolute())
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
    """Options that let PyAV open files with metadata that is not UTF-8; not needed from version 19 on."""
    import av

    return {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


def _opened(source: str, name: str, live: bool, max_pixels: int) -> InputContainer:
    with extra_required("video", "reading videos"):
        import av
        from av.error import FFmpegError
    if live:
        options = {"max_pixels": str(max_pixels)}
        if source.startswith("rtsp"):  # by default UDP, which loses packets and so damages frames
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
    path = from_home(source)
    with reading_from(name):
        with path.open("rb"):  # for the system's error messages, which are clearer than FFmpeg's
            pass
        try:
            return open_file(path, max_pixels)
        except FFmpegError as error:
            raise InputError(
                f"{name}: cannot be read as a video ({_why(error, source)}): its format is not "
                "supported, or it is truncated; convert it to MP4, or copy it again"
            ) from error


def _why(error: Exception, source: str) -> str:
    """FFmpeg's message without error number and path."""
    return getattr(error, "strerror", None) or one_line(error).replace(source, "")
