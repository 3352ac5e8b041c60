"""Reader of FER+ in the layout of Microsoft's programs: three folders of pictures, each with a file of votes.

FER2013Train/label.csv     fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0
FER2013Train/fer0000000.png, which src/generate_training_data.py of their repository makes of fer2013.csv
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Sequence
from functools import partial
from pathlib import PurePath

import numpy as np

from mien.data.ferplus import CHOICES, EIGHT, Votes, vote_counts
from mien.data.known_sets import FER_PLUS, KnownFaces, ListedFace
from mien.data.layout import Found, Rank
from mien.data.reading import Request, reading
from mien.data.store import TEST, TRAIN, VALIDATION
from mien.data.tree import Entry, Tree
from mien.decoding import is_image
from mien.errors import InputError, one_line, quantity

_SPLITS = {"FER2013Train": TRAIN, "FER2013Valid": VALIDATION, "FER2013Test": TEST}
#: Accepted numbers of columns: older versions of the file have no box of the face after the name.
_COLUMNS = (1 + len(CHOICES), 2 + len(CHOICES))
#: The position of each of `CHOICES` among the file's columns of votes.
_ORDER = [
    *(list(FER_PLUS.numbers.values()).index(name) for name in EIGHT),
    len(EIGHT),
    len(EIGHT) + 1,
]


def found(tree: Tree) -> list[Found]:
    """FER+'s folders, if at least one of them holds its label.csv."""
    tables = [entry for entry in tree.entries if _folder(entry) in _SPLITS]
    images = [entry for entry in tree.entries if tables and is_image(entry.name)]
    if not tables:
        return []
    return [Found(Rank.KNOWN_SET, "FER+, Microsoft's folders", partial(_read, tables, images))]


def _folder(entry: Entry) -> str:
    """The name of the folder of a label.csv; "" for any other file."""
    folder, _, name = entry.name.rpartition("/")
    if name != "label.csv":
        return ""
    return posixpath.basename(folder) if folder else PurePath(entry.folder).name


def _read(tables: Sequence[Entry], images: Sequence[Entry], request: Request) -> KnownFaces:
    by_name = {image.name: image for image in images}
    faces: list[ListedFace] = []
    for entry in tables:
        folder = posixpath.dirname(entry.name)
        names, votes = _votes(entry)
        root = posixpath.dirname(folder)
        for name, leader in zip(names, votes.majority().tolist(), strict=True):
            path = posixpath.join(folder, name)
            expression = EIGHT[leader] if leader >= 0 else None
            faces.append(
                ListedFace(path, by_name.get(path), expression, _SPLITS[_folder(entry)], root)
            )
    request.notes.append(
        "labels are those that more than half of the annotators give, single votes left aside, as FER+'s "
        "authors count a majority"
    )
    return KnownFaces(FER_PLUS, faces, tables[0].where, request)


def _votes(entry: Entry) -> tuple[list[str], Votes]:
    """Read a label.csv: the names of its pictures, and the votes on them.

    Raises:
        InputError: the file is damaged, is not such a table, or is empty.
    """
    names, counts = [], []
    with entry.unpacked() as stream, reading(entry.where):
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
        lines = csv.reader(text)
        try:
            for line in filter(None, lines):
                where = f"{entry.where}, line {lines.line_num}"
                if len(line) not in _COLUMNS:
                    raise InputError(
                        f"{where}: {quantity(len(line), 'column')} instead of a name, a box and {len(CHOICES)} "
                        "numbers of votes; get the file again"
                    )
                names.append(line[0].strip())
                counts.append(vote_counts(line[-len(CHOICES) :], where))
        except csv.Error as error:
            raise InputError(
                f"{entry.where}: not a table in text ({one_line(error)}); get it again"
            ) from error
        finally:
            text.detach()  # else it would close the stream
    if not names:
        raise InputError(f"{entry.where}: names no picture; get it again")
    votes = Votes(
        votes=np.array(counts, np.uint8)[:, _ORDER],
        rows=np.arange(len(names)),
        splits=np.full(len(names), _SPLITS[_folder(entry)], np.uint8),
        has_face=np.ones(len(names), np.bool_),
        source=entry.where,
    )
    return names, votes
