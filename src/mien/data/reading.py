"""The interface of a source of faces: samples, splits, labels, and the errors of reading."""

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

from mien.data.store import NUMBERS, TEST, TRAIN, VALIDATION
from mien.errors import InputError, one_line, reading_from
from mien.expressions import Expressions, canonical, label_of

#: Names of a split, as `plain` writes them: values of the challenge's Usage, and names of folders and files.
SPLIT_NAMES = (
    dict.fromkeys(("training", "train", "trainset", "trainingset"), TRAIN)
    | dict.fromkeys(("publictest", "validation", "validationset", "valid", "validset"), VALIDATION)
    | dict.fromkeys(("val", "valset", "dev", "devset"), VALIDATION)
    | dict.fromkeys(("privatetest", "test", "testing", "testset"), TEST)
)
#: Names of a split inside longer names ("FER2013Test", "fer-train-00000"). The words left out are also names of
#: people or ordinary words.
_SPLIT_WORDS = {
    name: split for name, split in SPLIT_NAMES.items() if name not in ("val", "dev", "valid")
}
#: The left-out words name a split only if all other words of the name are among these: "val_set", "FER2013Valid".
_BESIDE = frozenset(
    ("set", "split", "data", "dataset", "images", "image", "imgs", "faces", "face", "fer")
)
#: Refused, because they mean validation in some data sets and test in others.
_UNCLEAR = ("eval", "evaluation", "holdout", "heldout")
_VALIDATION_FILE = re.compile(r"(val|valid|dev)([-_ ]?\d|\.)", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

#: In place of a label set: take the names of the data's own classes, in alphabetical order.
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
        row: the source's own name of the face (row number or file path).
        label: index into the source's `expressions`.
        split: index into `SPLITS`.
        image: uint8 (H, W) gray or (H, W, 3) RGB.

    >>> Sample("0", label=3, split=0, image=np.zeros((48, 48), np.uint8)).image.shape
    (48, 48)
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
        reason: a sentence that names the file and its fault.
    """

    row: str
    reason: str


class Source(Protocol):
    """The faces of some layout, read as a stream: one sample in memory at a time."""

    @property
    def expressions(self) -> Expressions:
        """The label set that `Sample.label` indexes."""

    @property
    def total(self) -> int | None:
        """The number of samples; None if it is not known before reading."""

    def samples(self) -> Iterator[Sample | Damaged]:
        """Yield every face, in the source's order; each call starts at the first one.

        A picture that cannot be decoded is yielded as `Damaged`.

        Raises:
            InputError: the source has any other fault.
        """


@dataclass(frozen=True)
class Request:
    """A user's request to read a source, and the readers' remarks on it.

    Attributes:
        labels: the requested label set; None for the layout's own; `FOUND` for the data's own classes.
        notes: remarks for the user; readers add to them.
    """

    labels: Expressions | None = None
    notes: list[str] = field(default_factory=list)


def order_told(request: Request, expressions: Expressions) -> str:
    """The remark on labels that are numbers: what they were read as."""
    order = ", ".join(f"{number} {name}" for number, name in enumerate(expressions))
    if not request.labels:
        return f"{NUMBERS} the challenge's order ({order}); give another order with --labels"
    return f"{NUMBERS} the order of the label set ({order})"


class UnknownClassesError(InputError):
    """A source has classes that are not in the label set: `unknown`, by their canonical names."""

    def __init__(self, message: str, unknown: tuple[str, ...]) -> None:
        super().__init__(message)
        self.unknown = unknown


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn errors of reading files, packed or not, into one sentence that names `where`.

    Raises:
        InputError: the block raised such an error.
    """
    with reading_from(where):
        try:
            yield
        except _DAMAGED as error:
            raise InputError(
                f"{where}: damaged or cut short ({one_line(error)}); download or copy it again"
            ) from error


@lru_cache(1024)
def plain(name: str) -> str:
    """Reduce a name to lower-case letters and digits, without accents.

    >>> plain("Public_Test "), plain("Usagé")
    ('publictest', 'usage')
    """
    bare = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", bare.lower())


def split_named(name: str, where: str) -> int:
    """The split of a Usage value: index into `SPLITS`.

    Raises:
        InputError: the value is unknown; `where` is the place for the message.
    """
    try:
        return SPLIT_NAMES[plain(name)]
    except KeyError:
        raise InputError(
            f"{where}: unknown Usage {name!r}; it has to be Training, PublicTest or PrivateTest"
        ) from None


def split_in_name(name: str, where: str) -> int | None:
    """The split told by the name of a file or folder: index into `SPLITS`, None if it tells none or several.

    Raises:
        InputError: the name may mean validation or test; `where` is the place for the message.

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
    """The split told by a file's name, else by the nearest folder above it that tells one, else training.

    Raises:
        InputError: a name may mean validation or test; `where` is the place for the message.
    """
    told = split_told(path, where)
    return TRAIN if told is None else told


def split_told(path: str, where: str) -> int | None:
    """As `split_in_path`, but None if no name tells a split."""
    told = (split_in_name(part, where) for part in reversed(path.split("/")))
    return next((split for split in told if split is not None), None)


def label_given(value: object, expressions: Expressions, where: str) -> int:
    """The label of a row as an index into the label set.

    Args:
        value: the name of an expression, or a number in the label set's order.
        expressions: the label set.
        where: the row, for messages.

    Raises:
        InputError: the value is empty, not in the label set, or out of range.

    >>> names = ("angry", "happy")
    >>> label_given("Happy", names, "row 1"), label_given("1.0", names, "row 2")
    (1, 1)
    """
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
