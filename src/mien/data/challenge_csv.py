"""The challenge's table: a row a face, its pixels as text (fer2013.csv, icml_face_data.csv)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mien.data.reading import Sample, label_given, reading, split_named
from mien.data.store import TRAIN
from mien.data.tree import Entry
from mien.errors import InputError
from mien.expressions import SEVEN, Expressions

#: Longer lines are not a face: refused before they fill the memory. Room for 2,000 x 2,000 pixels.
MAX_LINE = 1 << 24
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ChallengeCsv:
    """Columns `emotion`, `pixels` and perhaps `Usage`, in any order; without Usage all train.

    A row's name is its number below the header, from 0: the challenge's own numbering.
    """

    total = None

    def __init__(self, entry: Entry, labels: Expressions | None = None) -> None:
        self.expressions = labels or SEVEN
        self._entry = entry
        missing = [name for name in ("emotion", "pixels") if name not in columns(entry)]
        if missing:
            raise InputError(
                f"{entry.where}, line 1: no column {' and no column '.join(missing)}; give a CSV "
                "with the columns emotion,pixels,Usage, such as the challenge's fer2013.csv"
            )

    def samples(self) -> Iterator[Sample]:
        """See `Source`."""
        with self._entry.unpacked() as stream, reading(self._entry.where):
            rows = _Rows(stream, self._entry.where)
            fields = iter(rows)
            names = _names(next(fields, []))
            emotion, pixels = names.index("emotion"), names.index("pixels")
            usage = names.index("usage") if "usage" in names else None
            shape: tuple[int, int] | None = None
            usages: set[str] = set()
            count = 0
            for row in fields:
                if len(row) != len(names):
                    raise rows.wrong(f"{len(row)} columns where {len(names)} are needed")
                values = _numbers(row[pixels], rows)
                shape = shape or _square(values, rows)  # the first row decides the size
                if len(values) != shape[0] * shape[1]:
                    raise rows.wrong(f"{len(values)} pixels where {shape[0] * shape[1]} are needed")
                label = label_given(_text(row[emotion]), self.expressions, rows.where)
                split = TRAIN
                if usage is not None:
                    name = _text(row[usage])
                    if rows.cut and usages and name not in usages:  # "Train" of "Training"
                        raise rows.wrong(f"Usage {name!r}, unlike any row before")
                    usages.add(name)
                    split = split_named(name, rows.where)
                yield Sample(str(count), label, split, values.reshape(shape))
                count += 1
            if not count:
                raise InputError(
                    f"{self._entry.where}: no rows below the header; download or copy it again"
                )


def columns(entry: Entry) -> list[str]:
    """The names in a table's header, in small letters without blanks."""
    with entry.unpacked() as stream, reading(entry.where):
        return _names(next(iter(_Rows(stream, entry.where)), []))


class _Rows:
    """The rows of a table that are not blank, and what is wrong with the one read last.

    Parted at every comma: no column of these tables holds text with commas in it, and the csv
    module takes longer to walk through the pixels than numpy does to read them.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream = stream
        self._file = where
        self._line = 0
        #: Whether the line read last is not closed by a line end.
        self.cut = False

    def __iter__(self) -> Iterator[list[bytes]]:
        while line := self._stream.readline(MAX_LINE):
            self._line += 1
            if len(line) == MAX_LINE:
                raise InputError(f"{self.where}: the line is too long for a face; check the file")
            self.cut = not line.endswith(b"\n")
            if self._line == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if line.strip():
                yield [field.strip().strip(b'"') for field in line.split(b",")]

    @property
    def where(self) -> str:
        """The file and the line read last, for messages."""
        return f"{self._file}, line {self._line}"

    def wrong(self, what: str) -> InputError:
        """The error for a row; the last line, where no line end closes it, was cut short."""
        if self.cut:
            return InputError(
                f"{self.where}: the file was cut short here ({what}); download or copy it again"
            )
        return InputError(f"{self.where}: {what}; correct or remove this row")


def _numbers(text: bytes, rows: _Rows) -> NDArray[np.uint8]:
    """uint8 (n,) from n integers in text."""
    digits_only = text and not text.translate(None, b"0123456789 ")
    values = np.fromstring(text, np.int64, sep=" ") if digits_only else None
    if values is None or (values > 255).any():
        words = text.split()
        wrong = [n for n, word in enumerate(words) if not word.isdigit() or int(word) > 255]
        if not wrong:
            raise rows.wrong(f"{len(words)} pixels")
        raise rows.wrong(
            f"pixel {wrong[0] + 1} is {_text(words[wrong[0]])[:20]!r}, not an integer in 0..255"
        )
    return values.astype(np.uint8)


def _square(values: NDArray[np.uint8], rows: _Rows) -> tuple[int, int]:
    side = math.isqrt(len(values))
    if side * side != len(values):
        raise rows.wrong(f"{len(values)} pixels, which make no square face")
    return side, side


def _names(row: list[bytes]) -> list[str]:
    return [_text(name).strip().lower() for name in row]


def _text(field: bytes) -> str:
    return field.decode("utf-8", "replace")
