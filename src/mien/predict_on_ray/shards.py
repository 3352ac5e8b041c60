"""Divide the pictures of a dataset into shards: the plan of a job, and the pictures of a shard."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from mien.decoding import check_bytes, is_image
from mien.errors import InputError, one_line
from mien.predict_on_ray.storage import Place

#: Rows of a parquet file in memory at a time; few, because pictures may be large.
_ROWS = 16
_PLAN = pyarrow.schema([("shard", "int32"), ("path", "string"), ("row_group", "int32")])


@dataclass(frozen=True)
class Shard:
    """The pictures of one task, whose results go into one file.

    Attributes:
        number: number of the shard, from 0.
        paths: paths of the pictures; or the path of one parquet file, if `row_group` is given.
        row_group: the row group of the parquet file; None for pictures.

    >>> Shard(7, ("a.jpg", "b.jpg")).file
    'part-000007.parquet'
    """

    number: int
    paths: tuple[str, ...]
    row_group: int | None = None

    @property
    def file(self) -> str:
        """The name of the file of its results."""
        return f"part-{self.number:06d}.parquet"


class Plan:
    """The shards of a job, in order; kept as a compact table with one row for each picture or row group."""

    def __init__(self, table: Any) -> None:
        self._table = table
        numbers = table["shard"].to_numpy()
        self._starts = np.searchsorted(numbers, np.arange(numbers[-1] + 2))

    @classmethod
    def of(cls, place: Place, out: Place, size: int) -> Plan:
        """Find pictures, or parquet files with pictures, and divide them into shards.

        Args:
            place: the folder to search, with all folders below, or a file.
            out: the folder of results, which is skipped.
            size: pictures in a shard; each row group of a parquet file is a shard.

        Raises:
            InputError: there are no pictures, or both photos and parquet files.
        """
        mine = f"{out.path.rstrip('/')}/"
        files = [path for path in place.files() if not path.startswith(mine)]
        tables = [path for path in files if path.lower().endswith(".parquet")]
        photos = [path for path in files if is_image(path)]
        if tables and photos:
            raise InputError(
                f"{place.where}: holds photos and parquet files; give the path of one kind"
            )
        if not tables and not photos:
            raise InputError(f"{place.where}: no photo and no parquet file here; check the path")
        if photos:
            shards = np.arange(len(photos)) // size
            groups: Any = [None] * len(photos)
            return cls(pyarrow.table([shards, photos, groups], schema=_PLAN))
        pairs = [(path, group) for path in tables for group in range(_row_groups(place, path))]
        if not pairs:
            raise InputError(f"{place.where}: the parquet files hold no rows; check the path")
        paths, numbers = zip(*pairs, strict=True)
        return cls(pyarrow.table([range(len(pairs)), paths, numbers], schema=_PLAN))

    @classmethod
    def from_bytes(cls, content: bytes) -> Plan:
        """The inverse of `to_bytes`."""
        return cls(pyarrow.parquet.read_table(pyarrow.BufferReader(content)))

    def to_bytes(self) -> bytes:
        """The plan as the content of a parquet file."""
        stream = io.BytesIO()
        pyarrow.parquet.write_table(self._table, stream, compression="zstd")
        return stream.getvalue()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[Shard]:
        for number in range(len(self)):
            start, end = self._starts[number : number + 2]
            rows = self._table.slice(start, end - start)
            (group, *_) = rows["row_group"].to_pylist()
            yield Shard(number, tuple(rows["path"].to_pylist()), group)


def pictures(
    place: Place, shard: Shard, column: str | None
) -> Iterator[tuple[str, bytes | InputError]]:
    """Yield the name and the encoded bytes of each picture of a shard, or an InputError with the reason.

    Missing or unreadable pictures are yielded as errors. Errors of disks and networks are raised, so that
    the shard is tried again.
    """
    if shard.row_group is not None:
        yield from _of_table(place, shard.paths[0], shard.row_group, column)
        return
    for path in shard.paths:
        name = place.shown(path)
        try:
            with place.filesystem.open_input_file(path) as file:
                check_bytes(file.size(), name)
                yield name, file.read()
        except InputError as error:
            yield name, InputError(str(error).removeprefix(f"{name}: "))
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            yield name, InputError(one_line(error))


def image_column(names_and_types: Sequence[tuple[str, Any]], wanted: str | None, where: str) -> str:
    """Find the column of encoded pictures: bytes, or a struct with a field `bytes` as of Hugging Face.

    Args:
        names_and_types: names and pyarrow types of all columns.
        wanted: the user's choice, or None.
        where: the dataset, for messages.

    Raises:
        InputError: `wanted` is not such a column; or without it, there is not exactly one.
    """
    names = [name for name, kind in names_and_types if _holds_bytes(kind)]
    if wanted is not None:
        if wanted in names:
            return wanted
        raise InputError(
            f"{where}: no column {wanted!r} of encoded pictures (columns of bytes: {', '.join(names) or 'none'})"
        )
    if len(names) != 1:
        found = f"several columns of bytes ({', '.join(names)})" if names else "no column of bytes"
        raise InputError(f"{where}: {found}; name the column of encoded pictures with --column")
    return names[0]


def _holds_bytes(kind: Any) -> bool:
    kinds = pyarrow.types
    if kinds.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))


def checked_column(place: Place, plan: Plan, wanted: str | None) -> str | None:
    """Find the column of pictures in the first table, so that a wrong name is refused before work starts.

    Returns:
        The column; None if the shards are photos.

    Raises:
        InputError: see `image_column`; or a column is given for photos.
    """
    first = next(iter(plan))
    if first.row_group is None:
        if wanted is not None:
            raise InputError(f"--column {wanted}: {place.where} holds photos, not parquet files")
        return None
    with _table(place, first.paths[0]) as table:
        schema = table.schema_arrow
        return image_column(list(zip(schema.names, schema.types, strict=True)), wanted, place.where)


def _of_table(
    place: Place, path: str, group: int, column: str | None
) -> Iterator[tuple[str, bytes | InputError]]:
    """The pictures of a row group; their names are the file's name and the row in the whole file, from 0."""
    with _table(place, path) as table:
        row = sum(table.metadata.row_group(before).num_rows for before in range(group))
        for batch in table.iter_batches(_ROWS, row_groups=[group], columns=[column]):
            for value in batch.column(0).to_pylist():
                content = value.get("bytes") if isinstance(value, dict) else value
                missing = InputError("the picture's bytes are not in the table")
                yield f"{place.shown(path)}:{row}", content or missing
                row += 1


def _row_groups(place: Place, path: str) -> int:
    with _table(place, path) as table:
        return int(table.metadata.num_row_groups)


def _table(place: Place, path: str) -> Any:
    try:
        return pyarrow.parquet.ParquetFile(path, filesystem=place.filesystem, pre_buffer=False)
    except pyarrow.ArrowException as error:
        raise InputError(
            f"{place.shown(path)}: damaged or cut short ({one_line(error)}); copy it again"
        ) from error
