"""Reader of CK+ in its makers' layout, and of Kaggle's CK+48 in class folders.

    cohn-kanade-images/S005/001/S005_001_00000011.png     Emotion/S005/001/S005_001_00000011_emotion.txt
    CK+48/anger/S010_004_00000017.png

A sequence starts neutral and ends at the peak of its expression. 327 of the 593 sequences have a label; each of these
gives two faces: the last frame with that expression, and the first frame as neutral.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from mien.data.class_folders import class_name, root_of, split_of
from mien.data.known_sets import CK_PLUS, KnownFaces, ListedFace
from mien.data.layout import Found, Rank
from mien.data.reading import Request, reading
from mien.data.tree import Entry, Tree
from mien.decoding import is_image
from mien.errors import InputError
from mien.expressions import canonical

_FRAME = re.compile(r"(?P<sequence>S\d{3}_\d{3})_(?P<frame>\d{8})")
_LABEL = re.compile(_FRAME.pattern + r"_emotion\.txt")
_LONGEST = 200
_PEOPLE = (
    "CK+ tells no splits, and frames of one person are much alike: a validation part that is drawn from it holds "
    "people who are trained on; put people apart yourself, in folders train, validation and test"
)


def found(tree: Tree) -> list[Found]:
    """CK+, if the tree has its label files, or if all pictures are its frames in class folders."""
    labels = [entry for entry in tree.entries if _LABEL.fullmatch(posixpath.basename(entry.name))]
    images = [entry for entry in tree.entries if is_image(entry.name)]
    if labels:
        return [Found(Rank.KNOWN_SET, "CK+, sequences", partial(_sequences, labels, images))]
    if images and all(map(_in_class, images)):
        return [Found(Rank.KNOWN_SET, "CK+, in class folders", partial(_folders, images))]
    return []


def _in_class(image: Entry) -> bool:
    return (
        _FRAME.fullmatch(_stem(image)) is not None
        and canonical(class_name(image) or "") in CK_PLUS.expressions
    )


def _stem(entry: Entry) -> str:
    return posixpath.basename(entry.name).rpartition(".")[0]


def _sequences(labels: Sequence[Entry], images: Sequence[Entry], request: Request) -> KnownFaces:
    frames: dict[str, dict[str, Entry]] = defaultdict(dict)
    for image in images:
        if match := _FRAME.fullmatch(_stem(image)):
            frames[match["sequence"]].setdefault(match["frame"], image)
    faces: dict[str, ListedFace] = {}
    for entry in labels:
        match = _LABEL.fullmatch(posixpath.basename(entry.name))
        if match is None:
            continue
        own = frames.get(match["sequence"], {})
        peak, first = match["frame"], min(own, default="")
        name = CK_PLUS.expression(_number(entry), entry.where)
        for frame, expression in ((first, "neutral"), (peak, name)):
            if frame:  # a sequence of one frame is its peak
                row = f"{match['sequence']}_{frame}"
                faces[row] = ListedFace(row, own.get(frame), expression, None)
    request.notes.extend((_PEOPLE, "CK+'s frames are whole pictures, not cut to the face"))
    return KnownFaces(CK_PLUS, list(faces.values()), labels[0].folder, request)


def _number(entry: Entry) -> float:
    with reading(entry.where), entry.open() as stream:
        text = stream.read(_LONGEST).decode("utf-8", "replace").strip()
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"{entry.where}: {text[:20]!r} is no label, which is a number such as 3.0000000e+00; get the "
            "file again"
        ) from None


def _folders(images: Sequence[Entry], request: Request) -> KnownFaces:
    faces = [
        ListedFace(
            image.name, image, canonical(class_name(image) or ""), split_of(image), root_of(image)
        )
        for image in images
    ]
    if all(face.split is None for face in faces):
        request.notes.append(_PEOPLE)
    return KnownFaces(CK_PLUS, faces, posixpath.dirname(images[0].folder), request)
