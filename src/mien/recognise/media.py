"""What can be looked at: photos, folders of them, videos, cameras; and the frames that moving ones give."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, reading_from

Kind = Literal["photo", "video", "camera"]

PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm",
    ".heic", ".heif", ".avif",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv",
)  # fmt: skip
#: Videos whose packets begin with a G, at byte 0 or 4; without it they are programs in TypeScript.
_TRANSPORT_SUFFIXES = (".ts", ".mts", ".m2ts")
#: First bytes that tell a photo or a video whatever its name is.
_PHOTO_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\x00", b"MM\x00*")
_VIDEO_STARTS = (b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"FLV\x01")
#: What stands in bytes 4 to 8 of QuickTime and MP4 files; the brands of `ftyp` that are photos.
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_PHOTO_BRANDS = (b"heic", b"heix", b"heim", b"mif1", b"msf1", b"avif")


class SourceError(InputError):
    """Nothing can be made of one source; others may be fine."""


@dataclass(frozen=True)
class Item:
    """One photo, video or camera to look at.

    kind: `photo`, `video` (a file, or the address of a stream) or `camera`.
    where: the path, the address, or the camera's number.
    name: a relative path for what is written about it, unlike that of any other item.
    """

    kind: Kind
    where: str
    name: str

    @classmethod
    def camera(cls, number: int) -> Item:
        """The camera that the system counts as `number`, from 0."""
        return cls("camera", str(number), f"camera-{number}")

    @property
    def shown(self) -> str:
        """What rows and messages call it: an address goes without its password."""
        return f"camera {self.where}" if self.kind == "camera" else without_password(self.where)


@dataclass(frozen=True)
class Frame:
    """One picture of a video or a camera. Its pixels are made when they are first asked for.

    index: counts the source's frames from 0.
    time_s: seconds since the source's beginning, larger than that of the frame before.
    read: gives the pixels.
    held: bytes that it keeps in memory for that.
    looked_at: whether faces were looked for in it.
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


class Movie(Protocol):
    """Frames one after the other: a video file, a stream, a camera.

    name: what messages call it.
    live: its frames come when they come; who is too slow misses some.
    rate: frames per second, on average; time_base: the seconds that all times are multiples of.
    duration_s: how long it says it is; None where nobody knows.
    problem: after the last frame, a sentence if not all could be read as it should.
    """

    @property
    def name(self) -> str: ...
    @property
    def live(self) -> bool: ...
    @property
    def rate(self) -> Fraction: ...
    @property
    def time_base(self) -> Fraction: ...
    @property
    def duration_s(self) -> float | None: ...
    @property
    def problem(self) -> str | None: ...
    def __iter__(self) -> Generator[Frame]: ...


def find(
    inputs: Iterable[str | Path],
    *,
    leave_out: Path | None = None,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[Item]:
    """What there is to look at, one item at a time, in an order that is the same every time.

    Folders are searched with all folders below, sorted by name. Of a folder's or a pattern's files
    those count that are photos or videos by their first bytes or by their name; hidden ones do not.

    Args:
        inputs: files, folders, patterns (`holiday/**/*.jpg`), addresses (`rtsp://...`), the number
            of a camera (`0`) where no file is called so.
        leave_out: a folder that is not searched: where annotated copies go.
        on_error: told of folders below that cannot be listed; by default that ends the search.

    Raises:
        InputError: a path that is not there, a folder or a pattern that gives nothing.
    """
    given = [str(one) for one in inputs]
    taken: set[str] = set()
    out = leave_out.resolve() if leave_out is not None else None
    for text in given:
        path = Path(text).expanduser()
        files: Iterable[Path]
        if is_address(text):
            yield Item("video", text, _free(_words(without_password(text)), taken))
            continue
        if is_camera(text):
            yield Item.camera(int(text))
            continue
        if path.is_dir():
            root, files = path, _below(path, out, on_error)
        elif _is_pattern(text) and not os.path.lexists(path):
            root = _fixed_part(path)
            files = _matching(root, str(path.relative_to(root)), out)
        else:
            with reading_from(text):
                path.stat()
            if not path.is_file():  # whoever opens a pipe waits for its other end
                raise InputError(f"{text}: neither a file nor a folder; check the path")
            yield Item(_kind(path) or "photo", str(path), _free(path.name, taken))
            continue
        label = _free(root.resolve().name, taken) if len(given) > 1 else ""
        found = False
        for file in files:
            kind = _kind(file)
            if kind is not None:
                found = True
                yield Item(kind, str(file), str(Path(label, file.relative_to(root))))
        if not found:
            raise InputError(f"{text}: no photo or video here; check the path")


def is_camera(text: str) -> bool:
    """Whether this is the number of a camera; a file of that name wins.

    >>> is_camera("0"), is_camera("front"), is_camera("1234")
    (True, False, False)
    """
    return re.fullmatch("[0-9]{1,3}", text) is not None and not os.path.lexists(text)


def is_address(text: str) -> bool:
    """Whether this is the address of a stream, not a path.

    >>> is_address("rtsp://10.0.0.7/front"), is_address("photos/me.jpg")
    (True, False)
    """
    return "://" in text


def without_password(text: str) -> str:
    """An address as it may be shown.

    >>> without_password("rtsp://me:secret@10.0.0.7/front")
    'rtsp://10.0.0.7/front'
    """
    return re.sub(r"^(\w+://)[^/]*@", r"\1", text)


def _words(address: str) -> str:
    return re.sub(r"[^\w.]+", "-", address.split("://", 1)[1]).strip("-.") or "stream"


def _free(name: str, taken: set[str]) -> str:
    """The name, or `2-name`, `3-name` ... where it is taken; what is given is taken from then on."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{number}-{name}"
    taken.add(free)
    return free


def _below(
    folder: Path, leave_out: Path | None, on_error: Callable[[InputError], None] | None
) -> Iterator[Path]:
    """The files of a folder and of all folders below, sorted by name. Links to folders are not followed."""
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
            if leave_out is None or path.resolve() != leave_out:
                yield from _below(path, leave_out, on_error)
        elif entry.is_file():
            yield path
        elif entry.is_symlink() and not entry.is_dir() and on_error is not None:
            on_error(InputError(f"{path}: a link that leads nowhere; mend or remove it"))


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    while _is_pattern(str(pattern)):
        pattern = pattern.parent
    return pattern


def _matching(root: Path, pattern: str, leave_out: Path | None) -> Iterator[Path]:
    for file in sorted(root.glob(pattern)):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if not hidden and leave_out not in file.resolve().parents and file.is_file():
            yield file


def _is_pattern(text: str) -> bool:
    return re.search(r"[*?[]", text) is not None


def _kind(file: Path) -> Kind | None:
    """Photo, video or neither, by the first bytes, else by the suffix."""
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError:  # whoever reads it will say why
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
    elif file.suffix.lower() in PHOTO_SUFFIXES:
        kind = "photo"
    elif file.suffix.lower() in VIDEO_SUFFIXES:
        kind = "video"
    return kind
