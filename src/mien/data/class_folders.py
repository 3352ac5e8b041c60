"""Class folders: an image's folder names its expression, one above it may name the split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mien.data.images import SUFFIXES, read_image
from mien.data.reading import SPLIT_NAMES, Sample, reading
from mien.data.store import TRAIN
from mien.data.tree import Entry
from mien.errors import InputError, near_names
from mien.expressions import SEVEN, Expressions, canonical

#: As a label set: that of class folders is the names they have, in the alphabet's order.
FOUND: Expressions = ()

#: What the challenge's own file names begin with: they say more than the folder does, because the
#: class folders people hand out put PublicTest and PrivateTest together into `test`.
_PREFIXES = ("Training_", "PublicTest_", "PrivateTest_")


class ClassFolders:
    """`train/happy/1.jpg`, `images/validation/Happiness/2.png`, `happy/3.jpg` (all training).

    Names are matched in any case; images outside of class folders take no part. A row's name is
    the image's path below the root. UnknownClassesError where folders are no expressions of the
    label set.
    """

    def __init__(self, entries: Sequence[Entry], labels: Expressions | None = None) -> None:
        named = [(entry, name) for entry in entries if (name := class_name(entry)) is not None]
        where = {canonical(name): entry.folder for entry, name in reversed(named)}
        self.expressions = tuple(sorted(where)) if labels == FOUND else labels or SEVEN
        unknown = tuple(sorted(where.keys() - set(self.expressions)))
        if unknown:
            raise UnknownClassesError(where[unknown[0]], unknown, self.expressions)
        label_of = {name: self.expressions.index(canonical(name)) for _, name in named}
        self._samples = [(entry, label_of[name], _split(entry)) for entry, name in named]
        self.total = len(self._samples)

    def samples(self) -> Iterator[Sample]:
        for entry, label, split in self._samples:
            with reading(entry.where):
                image = read_image(entry)
            yield Sample(entry.name, label, split, image)


class UnknownClassesError(InputError):
    """Class folders that are no expressions of the label set: `unknown`, as `canonical` names them."""

    def __init__(self, where: str, unknown: tuple[str, ...], known: Expressions) -> None:
        first, *others = unknown
        more = f" (nor are {', '.join(map(repr, others))})" if others else ""
        super().__init__(
            f"{where}: expression {first!r} is not in the label set ({near_names(first, known)}){more}; "
            "give the set with --labels"
        )
        self.unknown = unknown


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return name.lower().endswith(SUFFIXES)


def class_name(entry: Entry) -> str | None:
    """The nearest folder above an image that does not name a split; None where there is none."""
    folders = entry.name.split("/")[:-1]
    return next((name for name in reversed(folders) if name.lower() not in SPLIT_NAMES), None)


def _split(entry: Entry) -> int:
    *folders, name = entry.name.split("/")
    for prefix in _PREFIXES:
        if name.lower().startswith(prefix.lower()):
            return SPLIT_NAMES[prefix[:-1].lower()]
    return next(
        (SPLIT_NAMES[name.lower()] for name in reversed(folders) if name.lower() in SPLIT_NAMES),
        TRAIN,
    )
