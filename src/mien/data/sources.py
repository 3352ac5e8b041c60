"""Open the source at a path: its layout is recognised by content, never by name alone."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mien.data import (
    affectnet,
    challenge_csv,
    ck_plus,
    class_folders,
    ferplus_folders,
    parquet,
    raf_db,
)
from mien.data.layout import Layout, Rank
from mien.data.reading import Request, Source, reading, split_told
from mien.data.store import SPLITS
from mien.data.tree import Entry, FolderTree, LoneFile, TarTree, Tree, ZipTree
from mien.decoding import is_image
from mien.errors import InputError, first_names
from mien.expressions import canonical
from mien.registry import Registry

#: All layouts that can be read from a path. To add one, write its file and add a line here.
LAYOUTS = Registry[Layout]("layout")
LAYOUTS.add("challenge csv", challenge_csv.found)
LAYOUTS.add("parquet", parquet.found)
LAYOUTS.add("RAF-DB", raf_db.found)
LAYOUTS.add("AffectNet", affectnet.found)
LAYOUTS.add("CK+", ck_plus.found)
LAYOUTS.add("FER+ folders", ferplus_folders.found)
LAYOUTS.add("class folders", class_folders.found)

_KNOWN = (
    "give fer2013.csv, icml_face_data.csv, parquet files, class folders (train/happy/1.jpg), "
    "or a zip or tar of them"
)
#: The most levels of archives inside archives; deeper ones are refused, because nobody packs so by intention.
_DEPTH = 3
_ARCHIVE_SUFFIXES = (".gz", ".tgz", ".bz2", ".xz", ".zip", ".tar")


@contextmanager
def open_source(path: Path, request: Request) -> Iterator[tuple[str, Source]]:
    """Open the source at a file or folder; all files are closed when the block ends.

    Args:
        path: a table, an archive or a folder.
        request: the label set; gets remarks on the source.

    Yields:
        (name of the layout, source).

    Raises:
        InputError: nothing there can be read, or several sources are equally good.
    """
    with ExitStack() as stack:
        with reading(str(path)):
            path.stat()
        if not (path.is_dir() or path.is_file()):  # opening a pipe would wait for its writer
            raise InputError(f"{path}: neither a file nor a folder; {_KNOWN}")
        tree = FolderTree(path) if path.is_dir() else LoneFile(path)
        yield _in_tree(tree, str(path), request, stack, _DEPTH)


def _in_tree(
    tree: Tree, where: str, request: Request, stack: ExitStack, depth: int
) -> tuple[str, Source]:
    stack.callback(tree.close)
    found = [one for name in LAYOUTS for one in LAYOUTS[name](tree)]
    archives = {entry.name: entry for entry in tree.entries if _is_archive(entry)}
    best = min((one.rank for one in found), default=Rank.ARCHIVE)
    if archives and best >= Rank.ARCHIVE:
        if len(archives) > 1:
            raise _several(list(archives), where)
        (entry,) = archives.values()
        if not depth:
            raise InputError(f"{entry.where}: too many archives in archives; unpack it yourself")
        return _in_tree(_opened(entry, stack), entry.where, request, stack, depth - 1)
    chosen = [one for one in found if one.rank == best]
    if not chosen:
        raise _nothing(tree, where)
    if len(chosen) > 1:
        raise _several([one.name for one in chosen], where)
    for link, folder in tree.second_names:
        request.notes.append(_second_name(tree, link, folder))
    if tree.dead_links:
        request.notes.append(_links(tree.dead_links))
    others = [one.name for one in found if one.rank != best] + list(archives)
    if others:
        request.notes.append(
            f"other sources beside {chosen[0].name}, passed over: {first_names(others)}"
        )
    return chosen[0].name, chosen[0].make(request)


def _is_archive(entry: Entry) -> bool:
    if is_image(entry.name):
        return False
    try:
        return entry.kind in ("zip", "tar")
    except InputError:  # a damaged file is an error only if the source holds nothing else
        return entry.name.lower().endswith(_ARCHIVE_SUFFIXES)


def _opened(entry: Entry, stack: ExitStack) -> Tree:
    return ZipTree(entry, stack) if entry.kind == "zip" else TarTree(entry, stack)


def _several(names: list[str], where: str) -> InputError:
    return InputError(f"{where}: holds several sources ({', '.join(names)}); give the path of one")


def _nothing(tree: Tree, where: str) -> InputError:
    """The error for a tree in which no layout finds a source; it names the most likely reason."""
    if isinstance(tree, LoneFile):
        (entry,) = tree.entries
        return challenge_csv.not_one(entry) if entry.kind == "text" else _not_ours(entry)
    if any(is_image(entry.name) for entry in tree.entries):
        return InputError(
            f"{where}: its images lie in no class folder; put each into a folder that is named "
            "after its expression, such as happy/1.jpg"
        )
    tables = [entry for entry in tree.entries if challenge_csv.is_nearly_one(entry)]
    if tables:
        return challenge_csv.not_one(tables[0])
    return InputError(f"{where}: nothing here that mien can read; {_KNOWN}")


def _not_ours(entry: Entry) -> InputError:
    problem = {"empty": "the file is empty", "image": "a single image"}.get(
        entry.kind, "not a kind of file that mien reads"
    )
    return InputError(f"{entry.where}: {problem}; {_KNOWN}")


def _links(names: list[str]) -> str:
    return f"links that lead nowhere or are not followed, passed over: {len(names):,} ({first_names(names)})"


def _second_name(tree: Tree, link: str, folder: str) -> str:
    """The note on a link to a folder of the same tree, whose faces are read once.

    Raises:
        InputError: the link's name gives these faces another split or class.
    """
    where = tree.describe(link)
    splits = [split_told(path, where) for path in (link, folder)]
    if splits[0] != splits[1]:
        first, second = ("no split" if one is None else SPLITS[one] for one in splits)
        raise InputError(
            f"{where}: a link to {folder}, so the same faces would be {first} and {second}; remove the link, "
            "or put other faces in its place"
        )
    names = [canonical(posixpath.basename(path)) for path in (link, folder)]
    of_class = any(
        posixpath.dirname(entry.name) == folder for entry in tree.entries if is_image(entry.name)
    )
    if of_class and names[0] != names[1]:
        raise InputError(
            f"{where}: a link to {folder}, so the same faces would be {names[0]} and {names[1]}; remove the link"
        )
    return f"{link}: a link to {folder}, whose faces are read once"
