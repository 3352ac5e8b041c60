"""What lies at a path: recognised by content, never by name alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path, PurePosixPath

from mien.data.challenge_csv import ChallengeCsv, columns
from mien.data.class_folders import ClassFolders, class_name, is_image
from mien.data.parquet import ParquetFiles
from mien.data.reading import Source, reading
from mien.data.tree import Entry, FolderTree, LoneFile, TarTree, Tree, ZipTree
from mien.errors import InputError
from mien.expressions import Expressions

_LAYOUTS = (
    "give fer2013.csv, icml_face_data.csv, parquet files, class folders (train/happy/1.jpg), "
    "or a zip or tar of them"
)
#: An archive in an archive in an archive is as deep as anybody packs.
_DEPTH = 3
#: Of a tar, the bytes that say so and where they stand.
_TAR_MAGIC, _TAR_AT = b"ustar", 257
_IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")


class Rank(IntEnum):
    """What is preferred where a folder holds several sources, best first.

    The challenge's own pixels before JPEG copies; what tells the splits before what does not.
    """

    FER2013_CSV = 0
    ICML_CSV = 1
    CSV_WITH_USAGE = 2
    PARQUET = 3
    FOLDERS = 4
    ARCHIVE = 5
    CSV_WITHOUT_USAGE = 6


@dataclass(frozen=True)
class _Candidate:
    rank: Rank
    name: str
    make: Callable[[], Source]


@contextmanager
def open_source(path: Path, labels: Expressions | None = None) -> Iterator[Source]:
    """The faces at a file or folder; what it opened is closed when the block ends.

    InputError where nothing there can be read, or where several sources are equally good.
    """
    with ExitStack() as stack:
        with reading(str(path)):
            path.stat()
        if path.is_dir():
            yield _in_tree(FolderTree(path), str(path), labels, stack, _DEPTH)
        else:
            (entry,) = LoneFile(path).entries
            yield _in_file(entry, labels, stack, _DEPTH)


def _in_file(entry: Entry, labels: Expressions | None, stack: ExitStack, depth: int) -> Source:
    kind = _kind(entry)
    if kind in ("zip", "tar"):
        if not depth:
            raise InputError(f"{entry.where}: too many archives in archives; unpack it yourself")
        tree: Tree = ZipTree(entry, stack) if kind == "zip" else TarTree(entry, stack)
        return _in_tree(tree, entry.where, labels, stack, depth - 1)
    if kind == "parquet":
        return ParquetFiles([entry], labels)
    if kind == "text":
        return ChallengeCsv(entry, labels)
    problem = {
        "empty": "the file is empty",
        "image": "a single image",
        "binary": "not a kind of file that mien reads",
    }[kind]
    raise InputError(f"{entry.where}: {problem}; {_LAYOUTS}")


def _in_tree(
    tree: Tree, where: str, labels: Expressions | None, stack: ExitStack, depth: int
) -> Source:
    images = [entry for entry in tree.entries if is_image(entry.name)]
    others = [(_rank(entry), entry) for entry in tree.entries if not is_image(entry.name)]
    parquet = [entry for rank, entry in others if rank is Rank.PARQUET]
    candidates = [
        _Candidate(rank, entry.name, partial(_in_file, entry, labels, stack, depth))
        for rank, entry in others
        if rank is not None and rank is not Rank.PARQUET
    ]
    if parquet:
        candidates.append(
            _Candidate(Rank.PARQUET, "parquet files", partial(ParquetFiles, parquet, labels))
        )
    if any(class_name(entry) for entry in images):
        candidates.append(
            _Candidate(Rank.FOLDERS, "class folders", partial(ClassFolders, images, labels))
        )
    if not candidates:
        if images:
            raise InputError(
                f"{where}: its images lie in no class folder; put each into a folder that is named "
                "after its expression, such as happy/1.jpg"
            )
        raise InputError(f"{where}: nothing here that mien can read; {_LAYOUTS}")
    best = min(candidate.rank for candidate in candidates)
    chosen = [candidate for candidate in candidates if candidate.rank == best]
    if len(chosen) > 1:
        names = ", ".join(candidate.name for candidate in chosen)
        raise InputError(f"{where}: holds several sources ({names}); give the path of one")
    return chosen[0].make()


def _rank(entry: Entry) -> Rank | None:
    """How good a source a file in a folder is; None for one that holds no faces."""
    try:
        kind = _kind(entry)
        names = columns(entry) if kind == "text" else []
    except InputError:  # damaged, or not ours: said only if it is the one chosen
        return Rank.ARCHIVE if _compressed(entry) else None
    if kind == "parquet":
        return Rank.PARQUET
    if kind in ("zip", "tar"):
        return Rank.ARCHIVE
    if not {"emotion", "pixels"} <= set(names):
        return None
    if "usage" not in names:
        return Rank.CSV_WITHOUT_USAGE
    stem = PurePosixPath(entry.name).name.lower().split(".")[0]
    return {"fer2013": Rank.FER2013_CSV, "icml_face_data": Rank.ICML_CSV}.get(
        stem, Rank.CSV_WITH_USAGE
    )


def _compressed(entry: Entry) -> bool:
    return entry.name.lower().endswith((".gz", ".tgz", ".bz2", ".xz", ".zip", ".tar"))


def _kind(entry: Entry) -> str:
    with entry.unpacked() as stream, reading(entry.where):
        start = stream.read(_TAR_AT + len(_TAR_MAGIC))
    if not start:
        return "empty"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if start.startswith(b"PAR1"):
        return "parquet"
    if start[_TAR_AT:] == _TAR_MAGIC:
        return "tar"
    if start.startswith(_IMAGE_MAGIC) or start[8:12] == b"WEBP":
        return "image"
    return "binary" if b"\0" in start else "text"
