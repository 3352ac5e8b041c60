"""Reader of parquet tables in the style of Hugging Face: encoded images in one column, labels in another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from mien.data.columns import (
    LABELS,
    SPLIT_COLUMNS,
    OtherNames,
    SplitColumn,
    position,
    refuse_hidden_split,
)
from mien.data.doubles import without_same_files
from mien.data.images import UndecodableError, decode
from mien.data.layout import Found, Rank
from mien.data.reading import (
    FOUND,
    Damaged,
    Request,
    Sample,
    UnknownClassesError,
    label_given,
    order_told,
    reading,
    split_in_path,
)
from mien.data.tree import Entry, Tree
from mien.decoding import is_image
from mien.errors import InputError, extra_required, one_line
from mien.expressions import SEVEN, Expressions, canonical, label_of

_IMAGE = ("image", "img", "face")
#: The most rows in memory at a time; few, because images may be large.
_ROWS = 16
#: Bytes for values repeated from a dictionary (see `_rows_at_once`): a dictionary of up to 1 MiB allows all `_ROWS`.
_REPEATED = _ROWS << 20
#: Encoded pictures hardly compress: a column chunk of more than `_SMALL` bytes that unpacks to more than this many
#: times its packed size is a decompression bomb.
_MOST_PACKED, _SMALL = 20, 64 << 20
#: Bytes of the file read at a time.
_READ_AHEAD = 1 << 20
#: Rows of unread columns in memory at a time.
_LOOKED_AT = 1000


def found(tree: Tree) -> list[Found]:
    """All parquet files of a tree as one source, if there are any."""
    files = [entry for entry in tree.entries if not is_image(entry.name) and _is_parquet(entry)]
    name = files[0].name if len(files) == 1 else "parquet files"
    return [Found(Rank.PARQUET, name, partial(ParquetFiles, files))] if files else []


def _is_parquet(entry: Entry) -> bool:
    try:
        return entry.kind == "parquet"
    except InputError:
        return False


class ParquetFiles:
    """A `Source` of the rows of one or several files: an image (struct with `bytes`, or bytes) and a label.

    Labels are integers or names. Class names in the file's `huggingface` metadata are mapped by
    name; without them integers are read in the label set's order. The split is that of a split
    column, else the one named by the file's path (train-00000-of-00002.parquet), else training. A
    row's name is its `row` column, else the file's name and the position in it.

    Rows are read a few at a time. But the format reads whole pages, and writers may put all images
    of a row group into one page, so memory can grow to the size of a row group.
    """

    def __init__(self, entries: Sequence[Entry], request: Request) -> None:
        """Check the columns and class names of all files; no image is decoded yet.

        Raises:
            UnknownClassesError: the files name classes that are not in the label set.
            InputError: a file is damaged, has no rows, or lacks a column; or some files name their
                classes and others do not.
            MissingExtraError: pyarrow is not installed.
        """
        self._entries = without_same_files(entries, request.notes)
        self.total = 0
        classes: set[str] = set()
        named: dict[bool, str] = {}
        for entry in self._entries:
            with _opened(entry) as table:
                self.total += table.metadata.num_rows
                columns = _Columns(table, entry.where)
                names = _class_names(table, columns.label)
                classes.update(map(canonical, names or ()))
                if columns.has_numbers(table):
                    named[names is not None] = entry.name
                elif request.labels == FOUND:
                    classes |= columns.labels_in(table)
        where = entries[0].where
        if not self.total:
            raise InputError(f"{where}: no rows; download or copy it again")
        if len(named) > 1:
            raise InputError(
                f"{named[False]}: its labels are numbers without names, but {named[True]} names its "
                "classes, perhaps in another order; give one of the two, or files that name them"
            )
        self.expressions = request.labels or SEVEN
        if request.labels == FOUND and classes:
            self.expressions = tuple(sorted(classes))
        if unknown := tuple(sorted(classes - set(self.expressions))):
            raise UnknownClassesError(
                f"{where}: its classes {', '.join(unknown)} are not in the label set; give "
                f"the set with --labels {','.join(_ordered(classes))}",
                unknown,
            )
        if False in named:
            request.notes.append(order_told(request, self.expressions))

    def samples(self) -> Iterator[Sample | Damaged]:
        """See `Source`."""
        for entry in self._entries:
            with _opened(entry) as table:
                yield from self._of_file(entry, table)

    def _of_file(self, entry: Entry, table: Any) -> Iterator[Sample | Damaged]:
        columns = _Columns(table, entry.where)
        names = _class_names(table, columns.label)
        labels = None
        if names is not None:
            labels = tuple(label_of(name, self.expressions, entry.where) for name in names)
        columns.refuse_others(table, self.expressions, labels, entry.where)
        whole = split_in_path(entry.name, entry.where)
        splits = columns.split and SplitColumn(columns.split, entry.where, "row")
        count = 0
        for batch in table.iter_batches(_rows_at_once(table), columns=columns.wanted):
            for values in batch.to_pylist():
                where = f"{entry.where}, row {count + 1}"
                row = str(values[columns.row]) if columns.row else f"{entry.name}:{count}"
                count += 1
                split: int | None = whole
                if splits and columns.split:
                    split = splits.split(str(values[columns.split]), count)
                label = _label(values[columns.label], labels, self.expressions, where)
                try:
                    image = decode(_encoded(values[columns.image], where), where)
                except UndecodableError as error:
                    yield Damaged(row, str(error))
                    continue
                if split is not None:
                    yield Sample(row, label, split, image)
        if splits:
            splits.refuse_unknown()


@contextmanager
def _opened(entry: Entry) -> Iterator[Any]:
    with extra_required("data", "reading parquet files"):
        import pyarrow
        import pyarrow.parquet
    with entry.unpacked() as stream, reading(entry.where):
        try:
            # Buffered and not read ahead: a row group may be as large as the file.
            table = pyarrow.parquet.ParquetFile(stream, buffer_size=_READ_AHEAD, pre_buffer=False)
            for chunk in _chunks(table):
                size, packed = chunk.total_uncompressed_size, chunk.total_compressed_size
                if size > _SMALL and size > _MOST_PACKED * packed:
                    raise InputError(
                        f"{entry.where}: its column {chunk.path_in_schema} unpacks {packed:,} bytes to {size:,}, "
                        "which no pictures do; do not trust this file, get it again from its maker"
                    )
            yield table
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise InputError(
                f"{entry.where}: damaged or cut short ({one_line(error)}); download or copy it again"
            ) from error


def _chunks(table: Any) -> Iterator[Any]:
    """Yield the metadata of each column chunk of each row group."""
    about = table.metadata
    for group in range(about.num_row_groups):
        for column in range(about.num_columns):
            yield about.row_group(group).column(column)


def _rows_at_once(table: Any) -> int:
    """The number of rows to read at a time.

    A row may repeat a value as large as its column's whole dictionary, so large dictionaries allow
    fewer rows; a small file could otherwise fill the memory.
    """
    largest: int = max(
        (
            chunk.data_page_offset - chunk.dictionary_page_offset
            for chunk in _chunks(table)
            if chunk.dictionary_page_offset is not None
        ),
        default=0,
    )
    return max(1, min(_ROWS, _REPEATED // max(largest, 1)))


class _Columns:
    """The names of the image, label, split and row columns."""

    def __init__(self, table: Any, where: str) -> None:
        names = list(table.schema_arrow.names)
        by_lower = {name.lower(): name for name in reversed(names)}
        image = next((by_lower[name] for name in _IMAGE if name in by_lower), None)
        label = position(names, LABELS, "label", where)
        if image is None or label is None:
            raise InputError(
                f"{where}: no column {'image' if image is None else 'label'} "
                f"(found: {', '.join(names)}); give a table of images and labels"
            )
        split = position(names, SPLIT_COLUMNS, "split", where)
        self.image: str = image
        self.label: str = names[label]
        self.split: str | None = None if split is None else names[split]
        self.row: str | None = by_lower.get("row")

    @property
    def wanted(self) -> list[str]:
        """The names of those of the four columns that exist."""
        return [name for name in (self.image, self.label, self.split, self.row) if name]

    def has_numbers(self, table: Any) -> bool:
        """Whether the labels are numbers."""
        from pyarrow import types

        kind = table.schema_arrow.field(self.label).type
        return bool(types.is_integer(kind) or types.is_floating(kind))

    def labels_in(self, table: Any) -> set[str]:
        """The canonical names of the classes in a label column of text."""
        batches = table.iter_batches(_LOOKED_AT, columns=[self.label])
        values = {value for batch in batches for value in batch.column(0).unique().to_pylist()}
        return {canonical(str(value)) for value in values - {None, ""}}

    def refuse_others(
        self, table: Any, expressions: Expressions, labels: tuple[int, ...] | None, where: str
    ) -> None:
        """Check the text columns that are not read.

        Raises:
            InputError: one of them holds splits, or names the labels in another order.
        """
        from pyarrow import types

        names = OtherNames()
        for column in table.schema_arrow:
            kind = column.type.value_type if types.is_dictionary(column.type) else column.type
            if column.name in self.wanted or not (
                types.is_string(kind) or types.is_large_string(kind)
            ):
                continue
            for batch in table.iter_batches(_LOOKED_AT, columns=[column.name, self.label]):
                rows = batch.to_pylist()
                values = [row[column.name] for row in rows if row[column.name]]
                refuse_hidden_split(column.name, values, where)
                for row in rows:
                    number = _whole(row[self.label])
                    if number is not None and 0 <= number < len(labels or expressions):
                        label = labels[number] if labels else number
                        names.add(column.name, row[column.name] or "", expressions[label])
        names.refuse_contradiction(where)


def _class_names(table: Any, column: str) -> tuple[str, ...] | None:
    """The class name of each integer label from the file's metadata; None if it has none."""
    try:
        about = json.loads(table.schema_arrow.metadata[b"huggingface"])
        names = tuple(str(name) for name in about["info"]["features"][column]["names"])
    except (KeyError, TypeError, ValueError):  # not written by Hugging Face's datasets
        return None
    if names == tuple(map(str, range(len(names)))):  # "0", "1", ... are not names
        return None
    return names


def _ordered(classes: set[str]) -> list[str]:
    """Order classes for a label set: first the challenge's seven in its order, then the others by name."""
    return [*(name for name in SEVEN if name in classes), *sorted(classes - set(SEVEN))]


def _label(
    value: object, labels: tuple[int, ...] | None, expressions: Expressions, where: str
) -> int:
    number = _whole(value)
    if labels is None or number is None:
        return label_given("" if value is None else value, expressions, where)
    if not 0 <= number < len(labels):
        raise InputError(
            f"{where}: label {value} is outside 0..{len(labels) - 1}, the classes that the file "
            "names; correct or remove this row"
        )
    return labels[number]


def _whole(value: object) -> int | None:
    """The number of a class, as an integer, float or text; None if it is none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _encoded(value: object, where: str) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes):
        return data
    raise InputError(
        f"{where}: the image's bytes are not in the table; give one that holds the images"
    )
