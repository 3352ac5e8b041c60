"""Reader of AffectNet in its makers' layout: pictures, and one .npy file with the label of each.

train_set/images/0.jpg     train_set/annotations/0_exp.npy
val_set/images/7.jpg       val_set/annotations/7_exp.npy
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from mien.data.known_sets import AFFECTNET, KnownFaces, ListedFace
from mien.data.layout import Found, Rank
from mien.data.reading import Request, reading, split_in_path
from mien.data.tree import Entry, Tree
from mien.decoding import is_image
from mien.errors import InputError, one_line, quantity

_LABEL = re.compile(r"(?P<base>.*/|)annotations/(?P<name>[^/]+)_exp\.npy")
#: The largest label file in bytes; an .npy of one number needs about a tenth. Larger files are refused unread.
_MOST_BYTES = 2048


def found(tree: Tree) -> list[Found]:
    """AffectNet, if a folder `annotations` holds files such as `7_exp.npy`."""
    labels = [entry for entry in tree.entries if _LABEL.fullmatch(entry.name)]
    images = [entry for entry in tree.entries if labels and is_image(entry.name)]
    if not labels:
        return []
    return [Found(Rank.KNOWN_SET, "AffectNet, npy annotations", partial(_read, labels, images))]


def _read(labels: Sequence[Entry], images: Sequence[Entry], request: Request) -> KnownFaces:
    names: dict[str, str | None] = {}
    for entry in labels:
        match = _LABEL.fullmatch(entry.name)
        if match is not None:
            picture = f"{match['base']}images/{match['name']}"
            names[picture] = AFFECTNET.expression(_number(entry), entry.where)
    faces, unlabelled = [], 0
    for image in images:  # in the order of the tree: archives are quick to read only so
        picture = image.name.rpartition(".")[0]
        if picture in names:
            faces.append(_face(image.name, image, names.pop(picture)))
        else:
            unlabelled += 1
    faces += [_face(picture, None, name) for picture, name in names.items()]
    if unlabelled:
        request.notes.append(f"pictures without an annotation, passed over: {unlabelled:,}")
    request.notes.append(
        "AffectNet's val_set is read as validation; most papers report it as their test, for its own test set "
        "was never handed out"
    )
    return KnownFaces(AFFECTNET, faces, labels[0].folder, request)


def _face(row: str, image: Entry | None, name: str | None) -> ListedFace:
    *above, split, _, _ = ("", "", *row.split("/"))  # .../train_set/images/0.jpg
    return ListedFace(row, image, name, split_in_path(split, row), "/".join(above).strip("/"))


def _number(entry: Entry) -> float:
    """Read the label in an .npy file: an array of one number, or of one number as text.

    Raises:
        InputError: the file is too large, damaged, or does not hold exactly one number.
    """
    with reading(entry.where), entry.open() as stream:
        data = stream.read(_MOST_BYTES + 1)
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        value = np.load(io.BytesIO(data), allow_pickle=False)
        text = value.reshape(-1).astype(str).tolist()
        if len(text) != 1:
            raise ValueError(quantity(len(text), "value"))
        return float(text[0])
    except Exception as error:  # damaged bytes make numpy raise nearly anything
        raise InputError(
            f"{entry.where}: not one number in numpy's format ({one_line(error)}); get the file again"
        ) from error
