"""Reader of the challenge's table: one row a face, its pixels as text (fer2013.csv, icml_face_data.csv)."""

from __future__ import annotations

import codecs
import io
import math
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mien.data.columns import (
    LABELS,
    SPLIT_COLUMNS,
    OtherNames,
    SplitColumn,
    position,
    refuse_hidden_split,
)
from mien.data.layout import Found, Rank
from mien.data.reading import (
    Damaged,
    Request,
    Sample,
    label_given,
    order_told,
    plain,
    reading,
    split_in_path,
)
from mien.data.tree import Entry, Tree
from mien.decoding import is_image
from mien.errors import InputError, quantity
from mien.expressions import SEVEN, canonical

#: Bytes of the longest line; longer ones are refused before they fill the memory. Enough for 2,000 x 2,000 pixels.
MAX_LINE = 1 << 24
_PIXELS = ("pixels", "pixel")
_SEPARATORS = (b",", b";", b"\t", b"|")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Suffixes of files that are common in data sets and are never tables, so that they need not be opened.
_NO_TABLES = (".npy", ".mat", ".json", ".xml", ".py", ".md", ".pdf", ".html", ".bib", ".ipynb")
_GIVE = "give a CSV with the columns emotion,pixels,Usage, such as the challenge's fer2013.csv"


def found(tree: Tree) -> list[Found]:
    """Find the tables of a tree that have a label and a pixel column."""
    return [
        Found(rank, entry.name, partial(ChallengeCsv, entry))
        for entry in tree.entries
        if (rank := _rank(entry)) is not None
    ]


def is_nearly_one(entry: Entry) -> bool:
    """Whether a file is a table with a column of pixels or of emotions: a better error can then be given."""
    header = _header_of(entry)
    return header is not None and any(plain(name) in (*_PIXELS, "emotion") for name in header.names)


def not_one(entry: Entry) -> InputError:
    """The error for a text that is not a table of faces; it names the missing columns."""
    names = header.names if (header := _header_of(entry)) is not None else []
    pixels = any(plain(name) in _PIXELS for name in names)
    labels = any(plain(name) in LABELS for name in names)
    if pixels and not labels:
        return InputError(
            f"{entry.where}, line 1: pixels without labels, no column emotion (the challenge's test.csv "
            f"is such a table): nothing can be learnt or scored from it; {_GIVE}"
        )
    missing = [name for name, there in (("emotion", labels), ("pixels", pixels)) if not there]
    return InputError(
        f"{entry.where}, line 1: no column {' and no column '.join(missing)}; {_GIVE}"
    )


class ChallengeCsv:
    """A `Source` that reads a table with columns `emotion`, `pixels` and optionally `Usage`, in any order.

    Other common names of these columns are accepted (see `columns.py`). Columns are separated by comma,
    semicolon, tab or bar; the text is UTF-8 or UTF-16. Without a split column all faces belong to the
    split named by the file's path, else to training. A row's name is its number below the header, from 0,
    as in the challenge.
    """

    total = None

    def __init__(self, entry: Entry, request: Request) -> None:
        """Find the columns in the header.

        Raises:
            InputError: there is no label or pixel column, or several columns for one purpose.
        """
        self.expressions = request.labels or SEVEN
        self._request = request
        self._entry = entry
        self._where = f"{entry.where}, line 1"
        header = _header_of(entry)
        if header is None:
            raise not_one(entry)
        self._header = header
        label = position(header.names, LABELS, "label", self._where)
        pixels = position(header.names, _PIXELS, "pixel", self._where)
        if label is None or pixels is None:
            raise not_one(entry)
        self._label, self._pixels = label, pixels
        self._split = position(header.names, SPLIT_COLUMNS, "split", self._where)
        self._others = [
            number
            for number, name in enumerate(header.names)
            if number not in (label, pixels, self._split)
        ]

    def samples(self) -> Iterator[Sample | Damaged]:
        """See `Source`."""
        with self._entry.unpacked() as stream, reading(self._entry.where):
            yield from self._of(_Rows(stream, self._entry.where, self._header.separator))

    def _of(self, rows: _Rows) -> Iterator[Sample | Damaged]:
        names = self._header.names
        fields = iter(rows)
        next(fields, None)  # the header
        shape: tuple[int, int] | None = None
        whole = split_in_path(self._entry.name, self._entry.where)
        splits = self._split is not None and SplitColumn(
            names[self._split], self._entry.where, "line"
        )
        usages: set[str] = set()
        others = OtherNames()
        numbered = False
        count = 0
        for row in fields:
            where, name = rows.where, str(count)
            count += 1
            if len(row) != len(names):
                yield rows.damaged(name, f"{quantity(len(row), 'column')} instead of {len(names)}")
                continue
            split: int | None = whole
            if splits and self._split is not None:
                usage = _text(row[self._split])
                if rows.cut and usages and usage not in usages:  # "Train" of "Training"
                    raise rows.wrong(f"{names[self._split]} {usage!r}, unlike any row before")
                usages.add(usage)
                split = splits.split(usage, rows.line)
            for other in self._others:
                refuse_hidden_split(names[other], [_text(row[other])], where)
            face = _face(row[self._pixels], shape)
            if isinstance(face, str):
                yield rows.damaged(name, face)
                continue
            shape = face.shape[0], face.shape[1]  # the first good row decides the size
            given = _text(row[self._label])
            label = label_given(given, self.expressions, where)
            if canonical(given) != self.expressions[label]:
                numbered = True
                for other in self._others:
                    others.add(names[other], _text(row[other]), self.expressions[label])
            if split is not None:
                yield Sample(name, label, split, face)
        if splits:
            splits.refuse_unknown()
        others.refuse_contradiction(self._entry.where)
        told = order_told(self._request, self.expressions)
        # Without a label set the layout is the challenge's, whose order is known.
        if numbered and self._request.labels is not None and told not in self._request.notes:
            self._request.notes.append(told)
        if not count:
            raise InputError(
                f"{self._entry.where}: no rows below the header; download or copy it again"
            )


class _Header:
    """The first line of a table: the separator and the column names."""

    def __init__(self, line: bytes) -> None:
        self.separator = max(_SEPARATORS, key=line.count)
        self.names = [_text(name).strip() for name in _fields(line, self.separator)]


def _rank(entry: Entry) -> Rank | None:
    """The rank of a file as a source; None if it is not a table of faces."""
    header = _header_of(entry)
    if header is None:
        return None
    names = [plain(name) for name in header.names]
    if not (any(name in LABELS for name in names) and any(name in _PIXELS for name in names)):
        return None
    if not any(name in SPLIT_COLUMNS for name in names):
        return Rank.CSV_WITHOUT_SPLITS
    stem = PurePosixPath(entry.name).name.lower().split(".")[0]
    return {"fer2013": Rank.FER2013_CSV, "icml_face_data": Rank.ICML_CSV}.get(
        stem, Rank.CSV_WITH_SPLITS
    )


def _header_of(entry: Entry) -> _Header | None:
    """The header of a text file that is not blank; None for any other or damaged file."""
    if is_image(entry.name) or entry.name.lower().endswith(_NO_TABLES):
        return None
    try:
        if entry.kind != "text":
            return None
    except InputError:  # a damaged file is an error only if the source holds nothing else
        return None
    with io.BytesIO(entry.head) as head:
        line = next(_lines(head), b"")
    return _Header(line) if line.strip() else None


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text as UTF-8 with their line ends, each cut to MAX_LINE bytes."""
    start = stream.read(3)
    stream.seek(len(start) if start == codecs.BOM_UTF8 else 0)
    if not start.startswith(_UTF_16):
        while line := stream.readline(MAX_LINE):
            yield line
        return
    text = io.TextIOWrapper(stream, "utf-16", errors="replace", newline="\n")
    try:
        while row := text.readline(MAX_LINE):
            yield row.encode("utf-8", "replace")
    finally:
        text.detach()  # else it would close the stream


class _Rows:
    """Iterates over the rows of a table that are not blank; knows the line read last, for errors.

    Rows are split at every separator, quoted or not: no column of these tables holds text with a
    separator, and the csv module would take longer to scan the pixels than numpy takes to parse them.
    """

    def __init__(self, stream: IO[bytes], where: str, separator: bytes) -> None:
        self._stream = stream
        self._file = where
        self._separator = separator
        #: The number of the line read last, from 1.
        self.line = 0
        #: Whether that line has no line end, because the file was cut short.
        self.cut = False

    def __iter__(self) -> Iterator[list[bytes]]:
        for line in _lines(self._stream):
            self.line += 1
            if len(line) >= MAX_LINE:
                raise InputError(f"{self.where}: the line is too long for a face; check the file")
            self.cut = not line.endswith(b"\n")
            if line.strip():
                yield _fields(line, self._separator)

    @property
    def where(self) -> str:
        """The file and the number of the line read last, for messages."""
        return f"{self._file}, line {self.line}"

    def wrong(self, what: str) -> InputError:
        """The error for a faulty row; a last line without a line end is reported as cut short."""
        if self.cut:
            return InputError(
                f"{self.where}: the file was cut short here ({what}); download or copy it again"
            )
        return InputError(f"{self.where}: {what}; correct or remove this row")

    def damaged(self, row: str, what: str) -> Damaged:
        """A row without a valid face, as `Damaged`; raises InputError if the file was cut short in it."""
        if self.cut:
            raise self.wrong(what)
        return Damaged(row, str(self.wrong(what)))


def _fields(line: bytes, separator: bytes) -> list[bytes]:
    return [field.strip().strip(b'"') for field in line.rstrip(b"\r\n").split(separator)]


def _face(text: bytes, shape: tuple[int, int] | None) -> NDArray[np.uint8] | str:
    """Parse a face, uint8 (H, W), from its pixels as text; return a string with the fault if it cannot be done.

    The first face (`shape` is None) has to be square; all others have as many pixels as the first.
    """
    values = _numbers(text)
    if isinstance(values, str):
        return values
    side = math.isqrt(len(values))
    height, width = shape or (side, side)
    if len(values) == height * width:
        return values.reshape(height, width)
    wanted = f" instead of {height * width}" if shape else ", which make no square face"
    return f"{quantity(len(values), 'pixel')}{wanted}"


def _numbers(text: bytes) -> NDArray[np.uint8] | str:
    """Parse n integers in text to uint8 (n,); return a string with the fault if it cannot be done."""
    # Checked first, because `fromstring` would only warn of other letters; it is far faster than `int` for each pixel.
    digits_only = text and not text.translate(None, b"0123456789 ")
    values = np.fromstring(text, np.int64, sep=" ") if digits_only else None
    if values is None or (values > 255).any():
        words = text.split()
        # Compare lengths first: `int` refuses numbers of thousands of digits.
        wrong = [
            n
            for n, word in enumerate(words)
            if not word.isdigit() or len(word.lstrip(b"0")) > 3 or int(word) > 255
        ]
        if not wrong:
            return quantity(len(words), "pixel")
        return f"pixel {wrong[0] + 1} is {_text(words[wrong[0]])[:20]!r}, not an integer in 0..255"
    return values.astype(np.uint8)


def _text(field: bytes) -> str:
    try:
        return field.decode()
    except UnicodeDecodeError:  # spreadsheets on Windows write this encoding
        return field.decode("cp1252", "replace")
