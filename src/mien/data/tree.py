"""Files wherever they lie: in a folder, a zip or a tar, listed and opened the same way.

Nothing is ever unpacked to disk. Archives may lie in archives.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from mien.data.reading import reading
from mien.errors import InputError, one_line

_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_CHUNK = 1 << 20
_CLUTTER = {"__macosx", "thumbs.db", "desktop.ini"}
#: Bytes of a name, of a link's target, or of a tar's notes beside a name: more than any system lets a name have.
_MAX_NAME = 65_536
_NO_NAME = "a name in it is longer than any name may be"
#: Members of a tar that only hold the name, or notes, of the next.
_NAMES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
#: Bits of a zip member's `external_attr` that hold its Unix mode.
_UNIX_MODE = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree: `name` is its path below the root, parted by "/"."""

    name: str
    tree: Tree
    key: Any

    @property
    def where(self) -> str:
        """The file, for messages."""
        return _printable(self.tree.describe(self.name))

    @property
    def folder(self) -> str:
        """The folder that the file lies in, for messages."""
        return _printable(self.tree.describe(posixpath.dirname(self.name)))

    def open(self) -> IO[bytes]:
        """The file's bytes, from the start; seekable."""
        with reading(self.where):
            return self.tree.open(self.key)

    @contextmanager
    def unpacked(self) -> Iterator[IO[bytes]]:
        """As `open`, and a compressed file (gz, bz2, xz) is decompressed on the way."""
        with self.open() as raw, reading(self.where):
            magic = raw.read(6)
            raw.seek(0)
            for start, opener in _COMPRESSED.items():
                if magic.startswith(start):
                    with opener(raw) as stream:
                        try:
                            yield stream
                        except InputError:  # the content is wrong: was it damaged on its way?
                            while stream.read(_CHUNK):
                                pass
                            raise
                    return
            yield raw


class Tree(ABC):
    """A set of files below one root. `entries` leaves hidden files and system clutter out."""

    entries: list[Entry]

    @abstractmethod
    def open(self, key: Any) -> IO[bytes]:
        """Open the file that an entry's `key` names."""

    @abstractmethod
    def describe(self, name: str) -> str:
        """Name a file for messages."""


class FolderTree(Tree):
    """A folder on disk, links followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with reading(str(root)):
            names = sorted(name for name, _ in walk(root).files)
        self.entries = [Entry(name, self, name) for name in names]

    def open(self, key: str) -> IO[bytes]:
        return (self.root / key).open("rb")

    def describe(self, name: str) -> str:
        return str(self.root / name)


class LoneFile(FolderTree):
    """A tree of one file."""

    def __init__(self, path: Path) -> None:
        self.root = path.parent
        self.entries = [Entry(path.name, self, path.name)]


class ZipTree(Tree):
    """A zip's members, in its own order."""

    def __init__(self, entry: Entry, stack: ExitStack) -> None:
        self.where = entry.where
        with _unzipping(self.where):
            stream = stack.enter_context(entry.open())
            self._zip = stack.enter_context(zipfile.ZipFile(stream))
        self.entries = []
        for info in self._zip.infolist():
            name = _inside(info.filename, self.where)
            if stat.S_ISLNK(info.external_attr >> _UNIX_MODE):
                if info.file_size > _MAX_NAME:
                    raise InputError(
                        f"{self.where}: {_NO_NAME}; do not trust this file, get it again from its maker"
                    )
                with _unzipping(self.where):
                    target = self._zip.read(info).decode("utf-8", "replace")
                _inside(target, self.where, parent=posixpath.dirname(name))
            elif not info.is_dir() and not _is_clutter(name):
                self.entries.append(Entry(name, self, info))

    def open(self, key: Any) -> IO[bytes]:
        with _unzipping(self.where):
            return self._zip.open(key)

    def describe(self, name: str) -> str:
        return f"{self.where}: {name}"


class _Member(tarfile.TarInfo):
    """A member whose name is no longer than a name may be: tarfile reads all of it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile; ReadError where the name that follows is too long."""
        made = super().frombuf(buf, encoding, errors)
        if made.type in _NAMES and made.size > _MAX_NAME:
            raise tarfile.ReadError(_NO_NAME)
        return made


class TarTree(Tree):
    """A tar's members, in its own order: a compressed one is quick to read only that way."""

    def __init__(self, entry: Entry, stack: ExitStack) -> None:
        self.where = entry.where
        with reading(self.where):
            stream = stack.enter_context(entry.unpacked())
            tar = tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member)  # noqa: SIM115 (the stack closes it)
            self._tar = stack.enter_context(tar)
            members = self._tar.getmembers()
            # A tar that stops between two members looks whole to tarfile, but for its end mark.
            stream.seek(self._tar.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("the end mark is missing")
        self.entries = []
        for member in members:
            name = _inside(member.name, self.where)
            if member.issym():
                _inside(member.linkname, self.where, parent=posixpath.dirname(name))
            elif member.islnk():
                _inside(member.linkname, self.where)
            if (member.isfile() or member.islnk()) and not _is_clutter(name):
                self.entries.append(Entry(name, self, member))

    def open(self, key: Any) -> IO[bytes]:
        try:
            stream = self._tar.extractfile(key)
        except KeyError as error:
            raise tarfile.ReadError("a link inside leads nowhere") from error
        if stream is None:
            raise tarfile.ReadError("a member is not a file")
        return stream

    def describe(self, name: str) -> str:
        return f"{self.where}: {name}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a folder: files by their path relative to it, and its folders' paths."""

    files: list[tuple[str, os.DirEntry[str]]]
    folders: list[Path]


def walk(root: Path) -> Listing:
    """List a folder, links followed, each folder once; hidden files and clutter left out."""
    listing = Listing([], [])
    seen: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            continue
        seen.add(identity)
        listing.folders.append(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or name.lower() in _CLUTTER:
                    continue
                if entry.is_dir():
                    waiting.append((folder / name, f"{prefix}{name}/"))
                elif entry.is_file():
                    listing.files.append((prefix + name, entry))
    return listing


@contextmanager
def _unzipping(where: str) -> Iterator[None]:
    """As `reading`, for what zipfile raises besides: a password, an unknown compression."""
    try:
        with reading(where):
            yield
    except (RuntimeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{where}: cannot be unzipped ({one_line(error)}); unpack it and give the folder"
        ) from error


def _printable(name: str) -> str:
    """A path without line ends and the like, which names in archives may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _is_clutter(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _CLUTTER for part in name.split("/"))


def _inside(name: str, where: str, parent: str = "") -> str:
    """A member's path, made plain; InputError where it leaves the archive."""
    plain = name.replace("\\", "/")
    path = posixpath.normpath(posixpath.join(parent, plain))
    if plain.startswith("/") or plain[1:2] == ":" or path == ".." or path.startswith("../"):
        raise InputError(
            f"{where}: its member {name!r} points outside of the archive; do not trust this file, "
            "get it again from its maker"
        )
    return path
