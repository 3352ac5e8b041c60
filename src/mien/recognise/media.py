"""Sources of pictures: photos, folders, videos, streams and cameras; and the frames of moving ones."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from mien.decoding import is_image
from mien.errors import InputError, reading_from
from mien.files import from_home, read_json

Kind = Literal["photo", "video", "camera"]

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
#: MPEG transport streams: their packets begin with the letter G at byte 0 or 4. Other .ts files are TypeScript.
_TRANSPORT_SUFFIXES = (".ts", ".mts", ".m2ts")
#: The file by which a folder of marked copies is known, and its content.
COPIES_FILE, COPIES = ".mien.json", {"content": "marked copies"}
#: First bytes by which photos and videos are told apart, before their names.
_PHOTO_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\x00", b"MM\x00*")
_VIDEO_STARTS = (b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"FLV\x01")
#: Bytes 4 to 8 of QuickTime and MP4 files; and the brands of `ftyp` boxes that are photos.
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_PHOTO_BRANDS = (b"heic", b"heix", b"heim", b"mif1", b"msf1", b"avif")


class SourceError(InputError):
    """One source cannot be read; others may be fine, so a run over many goes on."""


@dataclass(frozen=True)
class Item:
    """One photo, video or camera to recognise.

    kind: `photo`, `video` (a file, or the URL of a stream) or `camera`.
    where: the path, the URL, or the camera's number.
    name: a relative path for results, unique among the items of one search.

    >>> Item.camera(0).shown
    'camera 0'
    """

    kind: Kind
    where: str
    name: str

    @classmethod
    def camera(cls, number: int) -> Item:
        """The camera of a number, from 0 as the operating system counts."""
        return cls("camera", str(number), f"camera-{number}")

    @property
    def shown(self) -> str:
        """The name in rows and messages: of a URL without its password."""
        return f"camera {self.where}" if self.kind == "camera" else without_password(self.where)


@dataclass(frozen=True)
class Frame:
    """One picture of a video or a camera. Its pixels are converted when they are first used.

    index: position among the source's frames, from 0.
    time_s: seconds since the source's beginning; grows from frame to frame.
    read: returns the pixels.
    held: bytes of memory that `read` keeps.
    looked_at: faces were searched in this frame.
    """

    index: int
    time_s: float
    read: Callable[[], NDArray[np.uint8]]
    held: int = 0
    looked_at: bool = False

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Upright uint8 RGB (H, W, 3)."""
        return self.read()


class Movie(ABC):
    """A source of frames in order: a video file, a stream or a camera. A context manager, which closes it.

    name: its name in messages.
    live: frames arrive in real time; a reader that is too slow misses some.
    rate: average frames per second; time_base: unit of all times, in seconds.
    duration_s: its duration by its own account, in seconds; None if unknown.
    problem: after the last frame, a sentence if a part could not be read correctly; else None.
    """

    name: str
    live: bool
    rate: Fraction
    time_base: Fraction
    duration_s: float | None = None
    problem: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Release the file or camera; frames that were yielded keep their pixels."""

    @abstractmethod
    def __iter__(self) -> Generator[Frame]:
        """Yield the frames, once."""


def find(
    inputs: Iterable[str | Path],
    *,
    leave_out: Path | None = None,
    on_error: Callable[[InputError], None] | None = None,
    on_copies: Callable[[Path], None] = lambda _: None,
) -> Iterator[Item]:
    """Find photos, videos and cameras, one at a time, in a reproducible order.

    Folders are searched recursively, sorted by name. A file in a folder or pattern counts if it is a
    photo or video by its first bytes or its name; hidden files do not count, nor the marked copies that
    `mien predict --out` wrote into a subfolder.

    Args:
        inputs: files, folders, patterns (`holiday/**/*.jpg`), URLs (`rtsp://...`), the number of a
            camera (`0`) if no file has that name.
        leave_out: a folder that is not searched: the one for annotated copies.
        on_error: called with an error for each subfolder that cannot be listed; by default it is raised.
        on_copies: called with each subfolder of marked copies, which is not searched.

    Raises:
        InputError: a path does not exist, or a folder or pattern has no photo or video.
    """
    given = [str(one) for one in inputs]
    taken: set[str] = set()
    out = leave_out.resolve() if leave_out is not None else None

    @cache
    def left_out(folder: Path) -> bool:
        """Whether a subfolder is not searched."""
        if folder.resolve() == out:
            return True
        copies = _holds_copies(folder)
        if copies:
            on_copies(folder)
        return copies

    for text in given:
        path = from_home(text)
        files: Iterable[Path]
        if not text:
            raise InputError(
                "an empty name; give a photo, a video or a folder (. is the one you are in)"
            )
        if is_address(text):
            _refuse_file(text)
            yield Item("video", text, _free(_words(without_password(text)), taken))
            continue
        if is_camera(text):
            yield Item.camera(int(text))
            continue
        if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for names that are too long)
            root, files = path, _below(path, left_out, on_error)
        elif _is_pattern(text) and not os.path.lexists(path):
            root = _fixed_part(path)
            files = _matching(root, str(path.relative_to(root)), left_out)
        else:
            with reading_from(text):
                path.stat()
            if not path.is_file():  # opening a named pipe would wait for its writer
                raise InputError(f"{text}: neither a file nor a folder; check the path")
            yield Item(kind_of(path) or "photo", str(path), _free(path.name, taken))
            continue
        label = _free(root.resolve().name, taken) if len(given) > 1 else ""
        found = False
        for file in files:
            kind = kind_of(file)
            if kind is not None:
                found = True
                yield Item(kind, str(file), str(Path(label, file.relative_to(root))))
        if not found:
            raise InputError(f"{text}: no photo or video here; check the path")


def is_camera(text: str) -> bool:
    """Whether a text is the number of a camera; a file of that name has precedence.

    >>> is_camera("0"), is_camera("front"), is_camera("1234")
    (True, False, False)
    """
    return re.fullmatch("[0-9]{1,3}", text) is not None and not os.path.lexists(text)


def is_address(text: str) -> bool:
    """Whether a text is a URL, not a path.

    >>> is_address("rtsp://10.0.0.7/front"), is_address("photos/me.jpg")
    (True, False)
    """
    return "://" in text


def without_password(text: str) -> str:
    """A URL without user name and password, for messages.

    >>> without_password("rtsp://me:secret@10.0.0.7/front")
    'rtsp://10.0.0.7/front'
    """
    return re.sub(r"^(\w+://)[^/]*@", r"\1", text)


def not_downloaded(address: str) -> InputError:
    """The error for the URL of a picture."""
    shown = without_password(address)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return InputError(f"{shown}: pictures are not downloaded; save it, and give the file")


def _refuse_file(address: str) -> None:
    """Refuse URLs that are not streams.

    Raises:
        InputError: it is the URL of a picture, or of a file here.
    """
    if address.lower().startswith("file:"):
        raise InputError(f"{address}: the URL of a file; give its path, without file://")
    if is_image(urlsplit(address).path):
        raise not_downloaded(address)


def _words(address: str) -> str:
    return re.sub(r"[^\w.]+", "-", address.split("://", 1)[1]).strip("-.") or "stream"


def _free(name: str, taken: set[str]) -> str:
    """A unique name: `name`, or `2-name`, `3-name` ... if it is taken; the result is added to `taken`."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{number}-{name}"
    taken.add(free)
    return free


def _below(
    folder: Path,
    left_out: Callable[[Path], bool],
    on_error: Callable[[InputError], None] | None,
) -> Iterator[Path]:
    """The files of a folder and its subfolders, sorted by name. Links to folders are not followed."""
    try:
        with reading_from(str(folder)), os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except InputError as error:
        if on_error is None:
            raise
        on_error(error)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            if not left_out(path):
                yield from _below(path, left_out, on_error)
        elif entry.is_file():
            yield path
        elif entry.is_symlink() and not entry.is_dir() and on_error is not None:
            on_error(InputError(f"{path}: a broken link; repair or remove it"))


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    while _is_pattern(str(pattern)):
        pattern = pattern.parent
    return pattern


def _matching(root: Path, pattern: str, left_out: Callable[[Path], bool]) -> Iterator[Path]:
    for file in sorted(root.glob(pattern)):
        below = file.relative_to(root)
        hidden = any(part.startswith(".") for part in below.parts)
        if hidden or any(left_out(root / folder) for folder in below.parents[:-1]):
            continue
        if file.is_file():
            yield file


def _holds_copies(folder: Path) -> bool:
    try:
        return read_json(folder / COPIES_FILE, "") == COPIES
    except InputError:  # most folders have no such file
        return False


def _is_pattern(text: str) -> bool:
    return re.search(r"[*?[]", text) is not None


def kind_of(file: Path) -> Kind | None:
    """Photo, video or neither, by the first bytes, else by the suffix."""
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError:  # the code that opens it later reports the reason
        start = b""
    kind: Kind | None = None
    if start.startswith(_PHOTO_STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        kind = "photo"
    elif start.startswith(_VIDEO_STARTS) or (start[:4] == b"RIFF" and start[8:11] == b"AVI"):
        kind = "video"
    elif start[4:8] in _BOXES:
        kind = "photo" if start[8:12] in _PHOTO_BRANDS else "video"
    elif file.suffix.lower() in _TRANSPORT_SUFFIXES:
        kind = "video" if b"G" in (start[:1], start[4:5]) else None
    elif is_image(file.name):
        kind = "photo"
    elif file.suffix.lower() in VIDEO_SUFFIXES:
        kind = "video"
    return kind
