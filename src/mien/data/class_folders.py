"""Reader of class folders: an image's folder names its expression, a folder above it may name the split."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from functools import partial

from mien.data.doubles import Named, without_doubled_trees
from mien.data.images import sample_or_damage
from mien.data.known_sets import AFFECTNET, RAF_DB
from mien.data.layout import Found, Rank
from mien.data.reading import (
    FOUND,
    SPLIT_NAMES,
    Damaged,
    Request,
    Sample,
    UnknownClassesError,
    order_told,
    plain,
    split_in_name,
)
from mien.data.tree import Entry, Tree
from mien.decoding import is_image
from mien.errors import InputError, first_names, near_names
from mien.expressions import SEVEN, Expressions, canonical

#: Prefixes of file names that tell the challenge's split. They win over the folder's name, because common
#: copies of FER-2013 put PublicTest and PrivateTest together into a folder `test`.
_PREFIXES = ("Training_", "PublicTest_", "PrivateTest_")

#: The layout's name, which stores keep.
LAYOUT = "class folders"


def found(tree: Tree) -> list[Found]:
    """All images of a tree as one source, if at least one lies in a class folder."""
    if not any(class_name(entry) for entry in tree.entries if is_image(entry.name)):
        return []
    return [Found(Rank.FOLDERS, LAYOUT, partial(ClassFolders, tree.entries))]


class ClassFolders:
    """A `Source` of images in class folders.

    Examples of paths: `train/happy/1.jpg`, `images/validation/Happiness/2.png`, `happy/3.jpg` (no split:
    training). Names match in upper or lower case. Images outside of class folders are ignored; other files
    beside images are counted in a note. Folders named by numbers are read in the order of the requested
    label set. If a tree holds the same images twice, they are read once. A row's name is the image's path
    below the root.
    """

    def __init__(self, entries: Sequence[Entry], request: Request) -> None:
        """Choose the images and their labels; no image is decoded yet.

        Raises:
            UnknownClassesError: class folders are not expressions of the label set.
            InputError: numbered folders do not fit the label set.
        """
        images = [
            Named(entry, name, split_of(entry), root_of(entry))
            for entry in entries
            if is_image(entry.name) and (name := class_name(entry)) is not None
        ]
        where = {canonical(image.name): image.entry.folder for image in reversed(images)}
        self.expressions = (
            tuple(sorted(where)) if request.labels == FOUND else request.labels or SEVEN
        )
        label_of = _labels(where, self.expressions, request.labels)
        if where.keys() - set(self.expressions):  # then all of them are numbers
            request.notes.append(order_told(request, self.expressions))
        kept = without_doubled_trees(images, request.notes)
        _note_others(entries, {posixpath.dirname(image.entry.name) for image in images}, request)
        self._samples = [
            (image.entry, label_of[canonical(image.name)], image.split) for image in kept
        ]
        self.total = len(self._samples)

    def samples(self) -> Iterator[Sample | Damaged]:
        """See `Source`."""
        for entry, label, split in self._samples:
            yield sample_or_damage(entry, entry.name, label, split)


def _note_others(entries: Sequence[Entry], folders: set[str], request: Request) -> None:
    """Say which files beside images are passed over: a picture of another format would be missed in silence."""
    others = [
        entry.name
        for entry in entries
        if not is_image(entry.name) and posixpath.dirname(entry.name) in folders
    ]
    if others:
        request.notes.append(
            f"files beside pictures whose names are not a picture's, passed over: {len(others):,} "
            f"({first_names(others)})"
        )


def _unknown(where: str, unknown: tuple[str, ...], known: Expressions) -> UnknownClassesError:
    """The error for class folders that are not expressions of the label set."""
    first, *others = unknown
    if all(name.isdecimal() for name in unknown):
        orders = "; ".join(f"{one.name} counts {one.counted()}" for one in (RAF_DB, AFFECTNET))
        orders += f"; FER-2013 counts {', '.join(f'{n} {name}' for n, name in enumerate(SEVEN))}"
        return UnknownClassesError(
            f"{where}: class folders that are numbers ({', '.join(unknown)}) do not tell which "
            f"expressions they are: {orders}; say which with --labels and all names in the order of the "
            'numbers, or at `mien evaluate` with --map "1=surprise,2=fear,..."',
            unknown,
        )
    more = f" (nor are {', '.join(map(repr, others))})" if others else ""
    return UnknownClassesError(
        f"{where}: expression {first!r} is not in the label set ({near_names(first, known)}){more}; "
        "give the set with --labels",
        unknown,
    )


def class_name(entry: Entry) -> str | None:
    """The nearest folder above an image that does not name a split; None if there is none."""
    folders = entry.name.split("/")[:-1]
    return next((name for name in reversed(folders) if plain(name) not in SPLIT_NAMES), None)


def root_of(entry: Entry) -> str:
    """The path above the folders that name an image's class and split; "" for the top."""
    folders = entry.name.split("/")[:-1]
    own = len(folders)
    while own and plain(folders[own - 1]) in SPLIT_NAMES:
        own -= 1
    own -= 1  # the class
    if (
        own == len(folders) - 1
        and own > 0
        and split_in_name(folders[own - 1], entry.folder) is not None
    ):
        own -= 1
    return "/".join(folders[: max(own, 0)])


def _labels(
    where: dict[str, str], expressions: Expressions, asked: Expressions | None
) -> dict[str, int]:
    """Map each class folder's canonical name to its label.

    Args:
        where: canonical name of each class folder -> a path of one, for messages.
        expressions: the label set.
        asked: the label set that the user asked for, which folders named by numbers need; None for none.

    Raises:
        UnknownClassesError: a name is not in the label set.
        InputError: the numbers do not fit the number of labels.
    """
    numbers = sorted(int(name) for name in where if name.isdecimal())
    unknown = tuple(sorted(where.keys() - set(expressions)))
    if asked and unknown and len(numbers) == len(where):
        first = 0 if numbers[0] == 0 else 1
        if numbers[-1] - first == len(expressions) - 1:
            return {name: int(name) - first for name in where}
        raise InputError(
            f"{where[unknown[0]]}: class folders {', '.join(map(str, numbers))} are not as many as the "
            f"{len(expressions)} labels given, counted from 0 or 1; give one label for each number, or "
            "name the folders after their expressions"
        )
    if unknown:
        raise _unknown(where[unknown[0]], unknown, expressions)
    return {name: expressions.index(name) for name in where}


def split_of(entry: Entry) -> int | None:
    """The split told by an image's name, else by the nearest folder above it; None if neither tells one."""
    *folders, name = entry.name.split("/")
    for prefix in _PREFIXES:
        if name.lower().startswith(prefix.lower()):
            return SPLIT_NAMES[prefix[:-1].lower()]
    own = class_name(entry)
    told = (split_in_name(one, entry.folder) for one in reversed(folders) if one != own)
    return next((split for split in told if split is not None), None)
