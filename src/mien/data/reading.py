"""What a source is made of: samples; and what can go wrong while reading one."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.data.store import TEST, TRAIN, VALIDATION
from mien.errors import InputError, one_line, reading_from
from mien.expressions import Expressions, label_of

#: What people call a split: the challenge's Usage, and the names of folders and files.
SPLIT_NAMES = {
    "training": TRAIN,
    "publictest": VALIDATION,
    "privatetest": TEST,
    "train": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
}

_DAMAGED = (
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One face of a source.

    Attributes:
        row: the source's own name of the face (row number, file path).
        label: index into the source's `expressions`.
        split: index into `SPLITS`.
        image: uint8 (H, W) gray or (H, W, 3) RGB.
    """

    row: str
    label: int
    split: int
    image: NDArray[np.uint8]


class Source(Protocol):
    """Faces in some layout. Reading streams: one sample in memory at a time."""

    @property
    def expressions(self) -> Expressions:
        """The label set that `Sample.label` indexes."""

    @property
    def total(self) -> int | None:
        """The number of samples, where it is known before reading."""

    def samples(self) -> Iterator[Sample]:
        """Every face from the start, in the source's order; InputError for the first wrong one."""


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what goes wrong while reading `where` into one sentence."""
    with reading_from(where):
        try:
            yield
        except _DAMAGED as error:
            raise InputError(
                f"{where}: damaged or cut short ({one_line(error)}); download or copy it again"
            ) from error


def split_named(name: str, where: str) -> int:
    """The split that a Usage value means."""
    try:
        return SPLIT_NAMES[name.strip().lower()]
    except KeyError:
        raise InputError(
            f"{where}: unknown Usage {name!r}; it has to be Training, PublicTest or PrivateTest"
        ) from None


def label_given(value: object, expressions: Expressions, where: str) -> int:
    """The label of a row: a number counts in the label set's order, a name is looked up in it."""
    text = str(value).strip()
    try:
        label = int(text)
    except ValueError:
        if not text:
            raise InputError(f"{where}: the label is empty; fill it in or drop the row") from None
        return label_of(text, expressions, where)
    if not 0 <= label < len(expressions):
        raise InputError(
            f"{where}: label {label} is outside 0..{len(expressions) - 1} "
            f"({', '.join(expressions)}); correct it or give the label set with --labels"
        )
    return label
