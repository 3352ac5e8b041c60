"""List and open files in a folder, a zip or a tar in the same way.

Nothing is ever unpacked to disk. Archives may be inside archives.
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
#: The most bytes of a name, of a link's target, or of a tar's extra headers; more than any system allows.
_MAX_NAME = 65_536
_NO_NAME = "a name in it is longer than any name may be"
#: Types of members of a tar that only hold the name or extra headers of the next member.
_NAMES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
#: Names of files and folders that systems and programs leave behind, besides hidden ones.
_CLUTTER = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "thumbnails", "@eadir", "@tmp", "#recycle",
    "#snapshot", "$recycle.bin", "system volume information", "lost+found", "icon\r",
}  # fmt: skip
#: Bytes of a file that are read to find out its kind, and the most files that stay open afterwards.
_HEAD, _KEPT_OPEN = 1 << 14, 8
#: The magic bytes of a tar and their offset.
_TAR_MAGIC, _TAR_AT = b"ustar", 257
_IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Bits of a zip member's `external_attr` that hold its Unix mode.
_UNIX_MODE = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree.

    Attributes:
        name: its path below the root, separated by "/".
        tree: the tree.
        key: the tree's own handle of the file, for `Tree.open`.
    """

    name: str
    tree: Tree
    key: Any

    @property
    def where(self) -> str:
        """The path of the file, for messages."""
        return _printable(self.tree.describe(self.name))

    @property
    def folder(self) -> str:
        """The path of the file's folder, for messages."""
        return _printable(self.tree.describe(posixpath.dirname(self.name)))

    @property
    def size(self) -> int:
        """The file's size in bytes; a compressed file (gz, bz2, xz) counts as compressed."""
        with reading(self.where):
            return self.tree.size(self.key)

    def open(self) -> IO[bytes]:
        """Open the file for reading bytes from the start; the stream is seekable."""
        with reading(self.where):
            return self.tree.open(self.key)

    @property
    def head(self) -> bytes:
        """The first bytes, decompressed; the file stays open, because it is usually read next."""
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
        """The kind of file, by its content: empty, zip, tar, parquet, image, text or binary."""
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
        """Open the file like `open`, but decompress a compressed one (gz, bz2, xz)."""
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
                        except InputError:
                            # Read to the end: if the checksum fails, damage is the true reason, and is raised.
                            while stream.read(_CHUNK):
                                pass
                            raise
                    return
            yield raw


class Tree(ABC):
    """A set of files below one root; `entries` has no hidden files and no system clutter."""

    entries: list[Entry]
    #: Whether all files are read from one stream, so that damage affects all files after it.
    is_stream = False

    def __init__(self) -> None:
        #: Links below the root that lead nowhere or are not followed.
        self.dead_links: list[str] = []
        #: Links to folders of the tree: (path of the link, path under which the folder is read).
        self.second_names: list[tuple[str, str]] = []
        self.heads: dict[Any, bytes] = {}
        self.kept: dict[Any, tuple[IO[bytes], ExitStack]] = {}

    @abstractmethod
    def open(self, key: Any) -> IO[bytes]:
        """Open the file that an entry's `key` names."""

    @abstractmethod
    def size(self, key: Any) -> int:
        """The number of bytes that `open` gives."""

    @abstractmethod
    def describe(self, name: str) -> str:
        """The full path of a file, for messages."""

    def keep(self, key: Any, stream: IO[bytes], stack: ExitStack) -> None:
        """Leave a file open, to be closed by `stack`; only the last `_KEPT_OPEN` files stay open."""
        self.kept[key] = stream, stack
        if len(self.kept) > _KEPT_OPEN:
            self.kept.pop(next(iter(self.kept)))[1].close()

    def close(self) -> None:
        """Close the files that were left open."""
        while self.kept:
            self.kept.popitem()[1][1].close()


class FolderTree(Tree):
    """A folder on disk; links are followed."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        with reading(str(root)):
            listing = walk(root)
        names = sorted(name for name, _ in listing.files)
        self.dead_links, self.second_names = listing.dead_links, listing.second_names
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
    """The members of a zip, in its own order."""

    def __init__(self, entry: Entry, stack: ExitStack) -> None:
        """List the members; `stack` closes the zip.

        Raises:
            InputError: the zip is damaged, or a member's path leaves it.
        """
        super().__init__()
        self.where = entry.where
        with _unzipping(self.where):
            stream = stack.enter_context(entry.unpacked())
            self._zip = stack.enter_context(zipfile.ZipFile(stream))
        members: dict[str, Any] = {}  # of members with one name the last counts, as if unpacked
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
    """A member of a tar with a limit on the length of its name, because tarfile would read all of it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header like tarfile; raises ReadError if the name that follows is too long."""
        made = super().frombuf(buf, encoding, errors)
        if made.type in _NAMES and made.size > _MAX_NAME:
            raise tarfile.ReadError(_NO_NAME)
        return made


class TarTree(Tree):
    """The members of a tar, in its own order, because a compressed tar is fast to read only in order."""

    is_stream = True

    def __init__(self, entry: Entry, stack: ExitStack) -> None:
        """List the members; `stack` closes the tar.

        Raises:
            InputError: the tar is damaged, or a member's path leaves it.
        """
        super().__init__()
        self.where = entry.where
        with reading(self.where):
            stream = stack.enter_context(entry.unpacked())
            tar = tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member)  # noqa: SIM115 (the stack closes it)
            self._tar = stack.enter_context(tar)
            listed = self._tar.getmembers()
            # tarfile accepts a tar that was cut between two members; only the end mark shows it.
            stream.seek(self._tar.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("the end mark is missing")
        members: dict[str, Any] = {}  # of members with one name the last counts, as if unpacked
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
        return int(key.size)  # 0 for a hard link

    def describe(self, name: str) -> str:
        return f"{self.where}: {name}"


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of a folder.

    Attributes:
        files: (path relative to the folder, entry) of each file.
        folders: paths of the folder itself and all below it.
        dead_links: relative paths of links that lead nowhere.
        second_names: (link, folder), relative paths, of links to a folder that is listed under its own name; without
            links to a folder that they lie in.
    """

    files: list[tuple[str, os.DirEntry[str]]]
    folders: list[Path]
    dead_links: list[str]
    second_names: list[tuple[str, str]]


def walk(root: Path) -> Listing:
    """List a folder and all below it, without hidden files and clutter; links are followed, each folder once.

    A folder's own name comes before that of a link to it, whatever the order on the disk.
    """
    listing = Listing([], [], [], [])
    # (device, inode) of a folder -> its path with "/" at the end
    seen: dict[tuple[int, int], str] = {}
    waiting = [(root, "")]
    links: list[tuple[Path, str]] = []
    while waiting or links:
        if not waiting:
            links.sort(key=lambda link: link[1], reverse=True)
            waiting.append(links.pop())
        folder, prefix = waiting.pop()
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            if folder.is_symlink() and not folder.parent.resolve().is_relative_to(folder.resolve()):
                listing.second_names.append((prefix[:-1], seen[identity][:-1]))
            continue
        seen[identity] = prefix
        listing.folders.append(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or name.lower() in _CLUTTER:
                    continue
                if _leads_nowhere(entry):
                    listing.dead_links.append(prefix + name)
                elif entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(
                        (folder / name, f"{prefix}{name}/")
                    )
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
    """Like `reading`, and for zipfile's further errors: a password, an unknown compression.

    Raises:
        InputError: the block raised such an error.
    """
    try:
        with reading(where):
            yield
    except (RuntimeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{where}: cannot be unzipped ({one_line(error)}); unpack it and give the folder"
        ) from error


def _printable(name: str) -> str:
    """A path with "?" for control characters such as line ends, which names in archives may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _is_clutter(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _CLUTTER for part in name.split("/"))


def _inside(name: str, where: str, parent: str = "") -> str:
    """Normalise the path of an archive's member.

    Raises:
        InputError: the path leaves the archive; `where` is the archive, for the message.
    """
    plain = name.replace("\\", "/")
    path = posixpath.normpath(posixpath.join(parent, plain))
    if plain.startswith("/") or plain[1:2] == ":" or path == ".." or path.startswith("../"):
        raise InputError(
            f"{where}: its member {name!r} points outside of the archive; do not trust this file, "
            "get it again from its maker"
        )
    return path
