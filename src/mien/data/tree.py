"""Files wherever they lie: in a folder, a zip or a tar, listed and opened the same way.

Nothing is ever unpacked to disk. Archives may lie in archives.
"""

from __future__ import annotations

import bz2
import codecs
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
#: Bytes of a name, of a link's target, or of a tar's notes beside a name: more than any system lets a name have.
_MAX_NAME = 65_536
_NO_NAME = "a name in it is longer than any name may be"
#: Members of a tar that only hold the name, or notes, of the next.
_NAMES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
#: What systems and programs leave in folders, besides hidden files.
_CLUTTER = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "thumbnails", "@eadir", "@tmp", "#recycle",
    "#snapshot", "$recycle.bin", "system volume information", "lost+found", "icon\r",
}  # fmt: skip
#: Bytes of a file that are read to find out what it is, and files that stay open after it.
_HEAD, _KEPT_OPEN = 1 << 14, 8
#: Of a tar, the bytes that say so and where they stand.
_TAR_MAGIC, _TAR_AT = b"ustar", 257
_IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
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

    @property
    def size(self) -> int:
        """The file's bytes, as many as there are; packed ones count as they lie there."""
        with reading(self.where):
            return self.tree.size(self.key)

    def open(self) -> IO[bytes]:
        """The file's bytes, from the start; seekable."""
        with reading(self.where):
            return self.tree.open(self.key)

    @property
    def head(self) -> bytes:
        """The first bytes, unpacked; the file stays open for whoever reads it next."""
        known = self.tree.heads.get(self.key)
        if known is None:
            with ExitStack() as stack:
                stream = stack.enter_context(self._unpacked())
                with reading(self.where):
                    known = stream.read(_HEAD)
                self.tree.keep(self.key, stream, stack.pop_all())
            self.tree.heads[self.key] = known
        return known

    @property
    def kind(self) -> str:
        """What the file is by its content: empty, zip, tar, parquet, image, text or binary."""
        start = self.head
        if not start:
            return "empty"
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return "zip"
        if start.startswith(b"PAR1"):
            return "parquet"
        if start[_TAR_AT : _TAR_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
            return "tar"
        if start.startswith(_IMAGE_MAGIC) or start[8:12] == b"WEBP":
            return "image"
        return "binary" if b"\0" in start and not start.startswith(_UTF_16) else "text"

    @contextmanager
    def unpacked(self) -> Iterator[IO[bytes]]:
        """As `open`, and a compressed file (gz, bz2, xz) is decompressed on the way."""
        kept = self.tree.kept.pop(self.key, None)
        if kept is None:
            with self._unpacked() as stream:
                yield stream
            return
        stream, stack = kept
        with stack:
            stream.seek(0)
            yield stream

    @contextmanager
    def _unpacked(self) -> Iterator[IO[bytes]]:
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
    #: Whether files are read one after the other from one stream, so that damage spoils all that follow.
    is_stream = False

    def __init__(self) -> None:
        #: Links below the root that lead nowhere, or that are not followed.
        self.dead_links: list[str] = []
        self.heads: dict[Any, bytes] = {}
        self.kept: dict[Any, tuple[IO[bytes], ExitStack]] = {}

    @abstractmethod
    def open(self, key: Any) -> IO[bytes]:
        """Open the file that an entry's `key` names."""

    @abstractmethod
    def size(self, key: Any) -> int:
        """How many bytes `open` gives."""

    @abstractmethod
    def describe(self, name: str) -> str:
        """Name a file for messages."""

    def keep(self, key: Any, stream: IO[bytes], stack: ExitStack) -> None:
        """Leave a file open; `stack` closes it. Only the last few stay so."""
        self.kept[key] = stream, stack
        if len(self.kept) > _KEPT_OPEN:
            self.kept.pop(next(iter(self.kept)))[1].close()

    def close(self) -> None:
        """Close the files that were left open."""
        while self.kept:
            self.kept.popitem()[1][1].close()


class FolderTree(Tree):
    """A folder on disk, links followed."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        with reading(str(root)):
            listing = walk(root)
        names = sorted(name for name, _ in listing.files)
        self.dead_links = listing.dead_links
        self.entries = [Entry(name, self, name) for name in names]

    def open(self, key: str) -> IO[bytes]:
        return (self.root / key).open("rb")

    def size(self, key: str) -> int:
        return (self.root / key).stat().st_size

    def describe(self, name: str) -> str:
        return str(self.root / name)


class LoneFile(FolderTree):
    """A tree of one file."""

    def __init__(self, path: Path) -> None:
        Tree.__init__(self)
        self.root = path.parent
        self.entries = [Entry(path.name, self, path.name)]


class ZipTree(Tree):
    """A zip's members, in its own order."""

    def __init__(self, entry: Entry, stack: ExitStack) -> None:
        super().__init__()
        self.where = entry.where
        with _unzipping(self.where):
            stream = stack.enter_context(entry.unpacked())
            self._zip = stack.enter_context(zipfile.ZipFile(stream))
        members: dict[
            str, Any
        ] = {}  # of one name the last counts, as it does where they are unpacked
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
                self.dead_links.append(name)
            elif not info.is_dir() and not _is_clutter(name):
                members[name] = info
        self.entries = [Entry(name, self, info) for name, info in members.items()]

    def open(self, key: Any) -> IO[bytes]:
        with _unzipping(self.where):
            return self._zip.open(key)

    def size(self, key: Any) -> int:
        return int(key.file_size)

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

    is_stream = True

    def __init__(self, entry: Entry, stack: ExitStack) -> None:
        super().__init__()
        self.where = entry.where
        with reading(self.where):
            stream = stack.enter_context(entry.unpacked())
            tar = tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member)  # noqa: SIM115 (the stack closes it)
            self._tar = stack.enter_context(tar)
            listed = self._tar.getmembers()
            # A tar that stops between two members looks whole to tarfile, but for its end mark.
            stream.seek(self._tar.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("the end mark is missing")
        members: dict[
            str, Any
        ] = {}  # of one name the last counts, as it does where they are unpacked
        for member in listed:
            name = _inside(member.name, self.where)
            if member.issym():
                _inside(member.linkname, self.where, parent=posixpath.dirname(name))
                self.dead_links.append(name)
            elif member.islnk():
                _inside(member.linkname, self.where)
            if (member.isfile() or member.islnk()) and not _is_clutter(name):
                members[name] = member
        self.entries = [Entry(name, self, member) for name, member in members.items()]

    def open(self, key: Any) -> IO[bytes]:
        try:
            stream = self._tar.extractfile(key)
        except KeyError as error:
            raise tarfile.ReadError("a link inside leads nowhere") from error
        if stream is None:
            raise tarfile.ReadError("a member is not a file")
        return stream

    def size(self, key: Any) -> int:
        return int(key.size)  # 0 of a hard link

    def describe(self, name: str) -> str:
        return f"{self.where}: {name}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a folder: files and dead links by their path relative to it, folders' paths."""

    files: list[tuple[str, os.DirEntry[str]]]
    folders: list[Path]
    dead_links: list[str]


def walk(root: Path) -> Listing:
    """List a folder, links followed, each folder once; hidden files and clutter left out."""
    listing = Listing([], [], [])
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
                if _leads_nowhere(entry):
                    listing.dead_links.append(prefix + name)
                elif entry.is_dir():
                    waiting.append((folder / name, f"{prefix}{name}/"))
                elif entry.is_file():
                    listing.files.append((prefix + name, entry))
    return listing


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return False
    try:
        return not (entry.is_dir() or entry.is_file())
    except OSError:  # a link to itself
        return True


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
