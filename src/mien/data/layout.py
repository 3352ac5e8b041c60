"""The interface of a layout of data; `sources.py` chooses among the sources that all layouts find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from mien.data.reading import Request, Source
from mien.data.tree import Tree


class Rank(IntEnum):
    """The preference among several sources in one folder; the smallest is taken.

    The challenge's own pixels come before JPEG copies, and sources with splits before those without.
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
        rank: its preference among others.
        name: its name for messages: the file, or the kind of data.
        make: opens it; raises InputError if it cannot be read.
    """

    rank: Rank
    name: str
    make: Callable[[Request], Source]


#: A function that finds the sources of one layout in a tree of files; an empty list if there are none.
Layout = Callable[[Tree], list[Found]]
