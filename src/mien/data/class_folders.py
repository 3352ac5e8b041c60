"""Class folders: an image's folder names its expression, one above it may name the split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mien.data.images import SUFFIXES, read_image
from mien.data.reading import SPLIT_NAMES, Sample, reading
from mien.data.store import TRAIN
from mien.data.tree import Entry
from mien.expressions import SEVEN, Expressions, label_of

#: What the challenge's own file names begin with: they say more than the folder does, because the
#: class folders people hand out put PublicTest and PrivateTest together into `test`.
_PREFIXES = ("Training_", "PublicTest_", "PrivateTest_")


class ClassFolders:
    """`train/happy/1.jpg`, `images/validation/Happiness/2.png`, `happy/3.jpg` (all training).

    Names are matched in any case; images outside of class folders take no part. A row's name is
    the image's path below the root.
    """

    def __init__(self, entries: Sequence[Entry], labels: Expressions | None = None) -> None:
        self.expressions = labels or SEVEN
        self._samples: list[tuple[Entry, int, int]] = []
        known: dict[str, int] = {}
        for entry in entries:
            name = class_name(entry)
            if name is None:
                continue
            if name not in known:
                known[name] = label_of(name, self.expressions, entry.folder)
            self._samples.append((entry, known[name], _split(entry)))
        self.total = len(self._samples)

    def samples(self) -> Iterator[Sample]:
        for entry, label, split in self._samples:
            with reading(entry.where):
                image = read_image(entry)
            yield Sample(entry.name, label, split, image)


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
