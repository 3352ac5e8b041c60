"""Reader of RAF-DB's basic set, with its own list of labels or in numbered folders (as on Kaggle).

basic/EmoLabel/list_patition_label.txt     train_00001.jpg 5
basic/Image/aligned/train_00001_aligned.jpg, or basic/Image/original/train_00001.jpg

DATASET/train/5/train_00001_aligned.jpg
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import partial

from mien.data.class_folders import class_name, root_of, split_of
from mien.data.columns import SplitColumn
from mien.data.known_sets import RAF_DB, KnownFaces, ListedFace
from mien.data.layout import Found, Rank
from mien.data.reading import Request, reading
from mien.data.store import TEST, TRAIN
from mien.data.tree import Entry, Tree
from mien.decoding import is_image
from mien.errors import InputError

#: Names of the list of labels; the first (sic) is the set's own spelling.
_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_PICTURE = re.compile(r"(train|test)_\d{4,5}_aligned\.\w+")
_LONGEST_LINE = 1000


def found(tree: Tree) -> list[Found]:
    """RAF-DB, if its list of labels is there, or if all pictures have names of its aligned ones."""
    lists = [entry for entry in tree.entries if posixpath.basename(entry.name) in _LISTS]
    images = [entry for entry in tree.entries if is_image(entry.name)]
    if lists:
        return [Found(Rank.KNOWN_SET, "RAF-DB, by its list", partial(_listed, lists, images))]
    if images and all(_PICTURE.fullmatch(posixpath.basename(image.name)) for image in images):
        names = {class_name(image) or "" for image in images}
        if names <= set(map(str, RAF_DB.numbers)):
            return [Found(Rank.KNOWN_SET, "RAF-DB, in folders", partial(_in_folders, images))]
        if all(name in ("", "aligned") for name in names):
            return [Found(Rank.KNOWN_SET, "RAF-DB", partial(_without_labels, images))]
    return []


def _listed(lists: Sequence[Entry], images: Sequence[Entry], request: Request) -> KnownFaces:
    faces: list[ListedFace] = []
    for entry in lists:
        base = posixpath.dirname(posixpath.dirname(entry.name))
        below = f"{base}/" if base else ""
        by_stem = {
            posixpath.basename(image.name).rpartition(".")[0]: image
            for image in images
            if image.name.startswith(below)
        }
        listed = _read(entry)
        whole = 0
        for name, (number, split) in listed.items():
            stem = name.rpartition(".")[0]
            picture = by_stem.get(f"{stem}_aligned") or by_stem.get(stem)
            whole += picture is not None and picture is by_stem.get(stem)
            row = name if picture is None else picture.name
            faces.append(ListedFace(row, picture, RAF_DB.numbers[number], split, base))
        if whole:
            request.notes.append(
                f"{whole:,} pictures of RAF-DB are its originals, whole photos: the aligned ones "
                "(Image/aligned) are faces"
            )
    return KnownFaces(RAF_DB, faces, lists[0].where, request)


def _read(entry: Entry) -> dict[str, tuple[int, int]]:
    """Read a list of labels: name of the picture -> (number, split).

    Raises:
        InputError: a line is not such a pair, a picture is listed twice with different labels, or the
            list is empty.
    """
    listed: dict[str, tuple[int, int]] = {}
    splits = SplitColumn("beginning of a name", entry.where, "line")
    with entry.unpacked() as stream, reading(entry.where):
        count = 0
        while line := stream.readline(_LONGEST_LINE):
            count += 1
            where = f"{entry.where}, line {count}"
            words = line.decode("utf-8-sig", "replace").split()
            if not words:
                continue
            if len(words) != 2 or not words[1].isdecimal():
                raise InputError(
                    f"{where}: not a picture's name and its number, as in 'train_00001.jpg 5'; get the list again"
                )
            name, number = words[0], int(words[1])
            RAF_DB.expression(number, where)
            split = splits.split(name.partition("_")[0], count)
            if split is None:
                continue
            if listed.setdefault(name, (number, split)) != (number, split):
                raise InputError(
                    f"{where}: {name} is {number} here and {listed[name][0]} above; correct the list"
                )
    splits.refuse_unknown()
    if not listed:
        raise InputError(f"{entry.where}: lists no picture; get it again")
    return listed


def _in_folders(images: Sequence[Entry], request: Request) -> KnownFaces:
    faces = [
        ListedFace(
            image.name,
            image,
            RAF_DB.numbers[int(class_name(image) or 0)],
            own if (own := split_of(image)) is not None else _named_split(image),
            root_of(image),
        )
        for image in images
    ]
    strays = sum(face.split == TRAIN and _named_split(face.entry) == TEST for face in faces)
    if strays:
        request.notes.append(
            f"{strays:,} pictures of RAF-DB's test set are in a training folder; they are used for training"
        )
    return KnownFaces(RAF_DB, faces, posixpath.dirname(images[0].folder), request)


def _named_split(image: Entry | None) -> int:
    named_test = image is not None and posixpath.basename(image.name).startswith("test_")
    return TEST if named_test else TRAIN


def _without_labels(images: Sequence[Entry], request: Request) -> KnownFaces:
    raise InputError(
        f"{images[0].folder}: RAF-DB's pictures without their labels; give the folder that holds Image and "
        f"EmoLabel/{_LISTS[0]}"
    )
