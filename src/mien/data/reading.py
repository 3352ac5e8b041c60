"""Samples, which every source gives, and everything that can go wrong while reading one."""

from __future__ import annotations

import gzip
import lzma
import re
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.data.store import TEST, TRAIN, VALIDATION
from mien.errors import InputError, one_line, reading_from
from mien.expressions import Expressions, canonical, label_of

#: Names of a split, as `plain` writes them: the challenge's Usage, and names of folders and files.
SPLIT_NAMES = {
    "training": TRAIN,
    "publictest": VALIDATION,
    "privatetest": TEST,
    "train": TRAIN,
    "trainset": TRAIN,
    "trainingset": TRAIN,
    "validation": VALIDATION,
    "validationset": VALIDATION,
    "valid": VALIDATION,
    "validset": VALIDATION,
    "val": VALIDATION,
    "valset": VALIDATION,
    "dev": VALIDATION,
    "devset": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "testset": TEST,
}
#: The same inside longer names ("FER2013Test", "fer-train-00000"): without words that are names of people.
_SPLIT_WORDS = {
    name: split for name, split in SPLIT_NAMES.items() if name not in ("val", "dev", "valid")
}
#: Those are splits where nothing stands beside them but these: "val_set", "FER2013Valid".
_BESIDE = frozenset(
    ("set", "split", "data", "dataset", "images", "image", "imgs", "faces", "face", "fer")
)
#: Some mean validation by these, others the test.
_UNCLEAR = ("eval", "evaluation", "holdout", "heldout")
_VALIDATION_FILE = re.compile(r"(val|valid|dev)([-_ ]?\d|\.)", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

#: As a label set: the names of the classes that the data have, in the alphabet's order.
FOUND: Expressions = ()

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


@dataclass(frozen=True, slots=True)
class Damaged:
    """One picture of a source that cannot be decoded.

    Attributes:
        row: the source's own name of the face.
        reason: a sentence that names the file and says what is wrong with it.
    """

    row: str
    reason: str


class Source(Protocol):
    """Faces in some layout. Reading streams: one sample in memory at a time."""

    @property
    def expressions(self) -> Expressions:
        """The label set that `Sample.label` indexes."""

    @property
    def total(self) -> int | None:
        """The number of samples, where it is known before reading."""

    def samples(self) -> Iterator[Sample | Damaged]:
        """Every face from the start, in the source's order.

        A picture that cannot be decoded is `Damaged`; anything else that is wrong is an InputError.
        """


@dataclass(frozen=True)
class Request:
    """How a source is to be read, and the sentences that people are told of it.

    Attributes:
        labels: the label set that was asked for; None for the layout's own; `FOUND`.
        notes: a reader adds to them.
    """

    labels: Expressions | None = None
    notes: list[str] = field(default_factory=list)


class UnknownClassesError(InputError):
    """Classes of a source that are no expressions of the label set: `unknown`, as `canonical` names them."""

    def __init__(self, message: str, unknown: tuple[str, ...]) -> None:
        super().__init__(message)
        self.unknown = unknown


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


@lru_cache(1024)
def plain(name: str) -> str:
    """A name in small letters and digits alone, accents removed.

    >>> plain("Public_Test "), plain("Usagé")
    ('publictest', 'usage')
    """
    bare = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", bare.lower())


def split_named(name: str, where: str) -> int:
    """The split that a Usage value means."""
    try:
        return SPLIT_NAMES[plain(name)]
    except KeyError:
        raise InputError(
            f"{where}: unknown Usage {name!r}; it has to be Training, PublicTest or PrivateTest"
        ) from None


def split_in_name(name: str, where: str) -> int | None:
    """The split that the name of a file or folder tells; None where it tells none, or several.

    InputError for a name that may mean validation or test.

    >>> split_in_name("train-00000-of-00002.parquet", ""), split_in_name("val_set", "")
    (0, 1)
    """
    whole = plain(name)
    if whole in SPLIT_NAMES:
        return SPLIT_NAMES[whole]
    if whole in _UNCLEAR:
        raise InputError(
            f"{where}: {name!r} may be validation or test; call it train, validation or test"
        )
    if "publictest" in whole or "privatetest" in whole:
        return VALIDATION if "publictest" in whole else TEST
    words = {word.lower() for word in _WORD.findall(name)}
    told = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    if not told and (_VALIDATION_FILE.match(name) or _is_validation(words)):
        return VALIDATION
    return told.pop() if len(told) == 1 else None


def _is_validation(words: set[str]) -> bool:
    left = words - _BESIDE
    return len(left) == 1 and SPLIT_NAMES.get(*left) == VALIDATION


def split_in_path(path: str, where: str) -> int:
    """The split that a file's name, else the folders above it, tell; else training."""
    told = (split_in_name(part, where) for part in reversed(path.split("/")))
    return next((split for split in told if split is not None), TRAIN)


def label_given(value: object, expressions: Expressions, where: str) -> int:
    """The label of a row: a number counts in the label set's order, a name is looked up in it."""
    text = str(value).strip()
    if text.lower() in ("", "nan", "none", "null"):
        raise InputError(f"{where}: the label is empty; fill it in or drop the row")
    if canonical(text) in expressions:
        return expressions.index(canonical(text))
    try:
        number = float(text)  # spreadsheets and data frames with gaps write 3.0
    except ValueError:
        return label_of(text, expressions, where)
    if not number.is_integer() or not 0 <= number < len(expressions):
        raise InputError(
            f"{where}: label {text} is outside 0..{len(expressions) - 1} "
            f"({', '.join(expressions)}); correct it or give the label set with --labels"
        )
    return int(number)
