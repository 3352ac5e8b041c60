"""The challenge's table: a row a face, its pixels as numbers in text (fer2013.csv, icml_face_data.csv)."""

from __future__ import annotations

import csv
import io
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
_BYTES = {str(value): value for value in range(256)}

csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))


class ChallengeCsv:
    """Columns `emotion`, `pixels` and perhaps `Usage`, in any order; without Usage all are training.

    A row's name is its number below the header, from 0: the challenge's own numbering.
    """

    total = None

    def __init__(self, entry: Entry, labels: Expressions | None = None) -> None:
        self.expressions = labels or SEVEN
        self._entry = entry
        if not columns(entry):
            raise InputError(f"{entry.where}: the file is empty; download or copy it again")
        missing = {"emotion", "pixels"} - set(columns(entry))
        if missing:
            raise InputError(
                f"{entry.where}, line 1: no column {' and no column '.join(sorted(missing))}; "
                "give a CSV with the columns emotion,pixels,Usage, such as the challenge's fer2013.csv"
            )

    def samples(self) -> Iterator[Sample]:
        with self._entry.unpacked() as stream, reading(self._entry.where):
            lines = _Lines(stream, self._entry.where)
            rows = _rows(lines)
            names = [name.strip().lower() for name in next(rows, [])]
            emotion, pixels = names.index("emotion"), names.index("pixels")
            usage = names.index("usage") if "usage" in names else None
            shape: tuple[int, int] | None = None
            count = 0
            for row in rows:
                if len(row) != len(names):
                    raise lines.wrong(f"{len(row)} columns where {len(names)} are needed")
                image, shape = self._image(row[pixels], shape, lines)
                label = label_given(row[emotion], self.expressions, lines.where)
                split = TRAIN if usage is None else split_named(row[usage], lines.where)
                yield Sample(str(count), label, split, image)
                count += 1
            if not count:
                raise InputError(
                    f"{self._entry.where}: no rows below the header; download or copy it again"
                )

    def _image(
        self, text: str, shape: tuple[int, int] | None, lines: _Lines
    ) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        values = text.split()
        if shape is None:  # the first row decides the size
            side = math.isqrt(len(values))
            if side * side != len(values) or not side:
                raise lines.wrong(f"{len(values)} pixels, which do not make a square face")
            shape = (side, side)
        if len(values) != shape[0] * shape[1]:
            raise lines.wrong(f"{len(values)} pixels where {shape[0] * shape[1]} are needed")
        try:
            flat = bytes(map(_BYTES.__getitem__, values))
        except KeyError as error:
            value = error.args[0]
            raise lines.wrong(
                f"pixel {values.index(value) + 1} is {value[:20]!r}, not an integer within 0..255"
            ) from None
        return np.frombuffer(flat, np.uint8).reshape(shape), shape


def columns(entry: Entry) -> list[str]:
    """The names in the header, in small letters without blanks; empty for an empty file."""
    with entry.unpacked() as stream, reading(entry.where):
        return [name.strip().lower() for name in next(_rows(_Lines(stream, entry.where)), [])]


class _Lines:
    """The lines of a text, counted, and what is wrong with the one read last."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        self._file = where
        self.number = 0
        self._whole = True

    def __iter__(self) -> Iterator[str]:
        try:
            while line := self._stream.readline(MAX_LINE):
                self.number += 1
                self._whole = line.endswith(("\n", "\r"))
                if len(line) == MAX_LINE:
                    raise InputError(
                        f"{self.where}: the line is too long to be a face; check the file"
                    )
                yield line
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.where}: not text in UTF-8 ({error.reason}); download or copy it again"
            ) from error
        finally:
            self._stream.detach()  # the stream belongs to the caller

    @property
    def where(self) -> str:
        return f"{self._file}, line {self.number}"

    def wrong(self, what: str) -> InputError:
        """The error for a row; the last line, where no line end closes it, was cut short."""
        if self._whole:
            return InputError(f"{self.where}: {what}; correct or remove this row")
        return InputError(
            f"{self.where}: the file was cut short here ({what}); download or copy it again"
        )


def _rows(lines: _Lines) -> Iterator[list[str]]:
    """The rows that are not blank."""
    try:
        yield from (row for row in csv.reader(lines) if row)
    except csv.Error as error:
        raise InputError(f"{lines.where}: not a row of a CSV ({error}); check the file") from error
