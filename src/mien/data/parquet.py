"""Parquet tables in the style of Hugging Face: encoded images in a column, labels in another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mien.data.images import decode
from mien.data.reading import SPLIT_NAMES, Sample, label_given, reading, split_named
from mien.data.store import TRAIN
from mien.data.tree import Entry
from mien.errors import InputError, extra_required, one_line
from mien.expressions import SEVEN, Expressions, label_of

_IMAGE = ("image", "img", "face")
_LABEL = ("label", "labels", "emotion", "expression")
#: Rows in memory at a time, and bytes of the file read ahead: both small, images may be large.
_ROWS = 16
_READ_AHEAD = 1 << 20


class ParquetFiles:
    """Rows of one or several files: an image (struct with `bytes`, or bytes) and a label.

    Labels are integers or names. Class names in the file's `huggingface` metadata are mapped by
    name; without them integers count in the label set's order. The split is a `usage` column's,
    else the one that the file's path names (train-00000-of-00002.parquet), else training. A row's
    name is its `row` column, else the file's name and the position in it.

    Rows are read a few at a time, but a page of the file is what the format reads at once, and
    writers may put all images of a row group into one page.
    """

    def __init__(self, entries: Sequence[Entry], labels: Expressions | None = None) -> None:
        self.expressions = labels or SEVEN
        self._entries = entries
        self._lone = len(entries) == 1
        self.total = 0
        for entry in entries:
            with _opened(entry) as table:
                self.total += table.metadata.num_rows
                _columns(table, entry.where)
        if not self.total:
            raise InputError(f"{entries[0].where}: no rows; download or copy it again")

    def samples(self) -> Iterator[Sample]:
        for entry in self._entries:
            with _opened(entry) as table:
                yield from self._of_file(entry, table)

    def _of_file(self, entry: Entry, table: Any) -> Iterator[Sample]:
        image, label, usage, row = _columns(table, entry.where)
        labels = _class_labels(table, label, self.expressions, entry.where)
        split = split_in_path(entry.name)
        wanted = [name for name in (image, label, usage, row) if name]
        count = 0
        for batch in table.iter_batches(_ROWS, columns=wanted):
            for values in batch.to_pylist():
                where = f"{entry.where}, row {count + 1}"
                yield Sample(
                    str(values[row]) if row else f"{entry.name}:{count}",
                    _label(values[label], labels, self.expressions, where),
                    split_named(str(values[usage]), where) if usage else split,
                    decode(_encoded(values[image], where), where),
                )
                count += 1


def split_in_path(path: str) -> int:
    """The split that a table's file name, else the folders above it, name; else training."""
    for part in reversed(path.split("/")):
        word = re.match(r"[a-z]*", part.lower())
        if word and word[0] in SPLIT_NAMES:
            return SPLIT_NAMES[word[0]]
    return TRAIN


@contextmanager
def _opened(entry: Entry) -> Iterator[Any]:
    with extra_required("data", "reading parquet files"):
        import pyarrow
        import pyarrow.parquet
    with entry.open() as stream, reading(entry.where):
        try:
            # Buffered and not read ahead: a row group may be as large as the file.
            yield pyarrow.parquet.ParquetFile(stream, buffer_size=_READ_AHEAD, pre_buffer=False)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise InputError(
                f"{entry.where}: damaged or cut short ({one_line(error)}); download or copy it again"
            ) from error


def _columns(table: Any, where: str) -> tuple[str, str, str | None, str | None]:
    """The names of the image, label, usage and row columns."""
    by_lower = {name.lower(): name for name in reversed(table.schema_arrow.names)}
    image = next((by_lower[name] for name in _IMAGE if name in by_lower), None)
    label = next((by_lower[name] for name in _LABEL if name in by_lower), None)
    if image is None or label is None:
        raise InputError(
            f"{where}: no column {'image' if image is None else 'label'} "
            f"(found: {', '.join(table.schema_arrow.names)}); give a table of images and labels"
        )
    return image, label, by_lower.get("usage"), by_lower.get("row")


def _class_labels(
    table: Any, column: str, expressions: Expressions, where: str
) -> tuple[int, ...] | None:
    """Our label of each integer in the file, where its metadata names the classes."""
    try:
        about = json.loads(table.schema_arrow.metadata[b"huggingface"])
        feature = about["info"]["features"][column]
        names = [str(name) for name in feature["names"]]
    except (KeyError, TypeError, ValueError):  # not written by Hugging Face's datasets
        return None
    if names == [str(number) for number in range(len(names))]:  # numbers are no names
        return None
    return tuple(label_of(name, expressions, where) for name in names)


def _label(
    value: object, labels: tuple[int, ...] | None, expressions: Expressions, where: str
) -> int:
    if labels is None or not isinstance(value, int):
        return label_given("" if value is None else value, expressions, where)
    if not 0 <= value < len(labels):
        raise InputError(
            f"{where}: label {value} is outside 0..{len(labels) - 1}, the classes that the file "
            "names; correct or remove this row"
        )
    return labels[value]


def _encoded(value: object, where: str) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        return data
    raise InputError(
        f"{where}: the image's bytes are not in the table; give one that holds the images"
    )
