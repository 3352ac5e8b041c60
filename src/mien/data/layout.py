"""What a layout of data is made of, so that `sources.py` can choose among what several of them find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from mien.data.reading import Request, Source
from mien.data.tree import Tree


class Rank(IntEnum):
    """Which source is preferred where a folder holds several, best first.

    The challenge's own pixels before JPEG copies; what tells the splits before what does not.
    """

    FER2013_CSV = 0
    ICML_CSV = 1
    CSV_WITH_SPLITS = 2
    PARQUET = 3
    KNOWN_SET = 4
    FOLDERS = 5
    ARCHIVE = 6
    CSV_WITHOUT_SPLITS = 7


@dataclass(frozen=True)
class Found:
    """A source that a layout found in a tree of files.

    Attributes:
        rank: how good it is beside others.
        name: what people are told: the file, or the kind of thing.
        make: opens it; InputError where it cannot be read.
    """

    rank: Rank
    name: str
    make: Callable[[Request], Source]


#: The sources of one kind in a tree of files; none where it holds none.
Layout = Callable[[Tree], list[Found]]
