"""Write FER-2013's faces with the labels of FER+'s majorities as a parquet table."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.data.ferplus import EIGHT, NO_FACE, UNKNOWN, Votes
from mien.data.store import SPLITS, FaceStore
from mien.errors import InputError, extra_required
from mien.files import atomic_file, same_file

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Majority:
    """The counts of a written table.

    Attributes:
        counts: split -> expression -> number of faces.
        unknown: faces left out, because no expression has a majority.
        no_face: faces left out, because the majority says that there is no face.
    """

    counts: dict[str, dict[str, int]]
    unknown: int
    no_face: int


def write_majority(store: FaceStore, votes: Votes, out: Path) -> Majority:
    """Write the faces with a majority for one of `EIGHT`, labelled by it, as a parquet table.

    Pixels, row numbers and splits are the store's; pictures are PNG (lossless). To read the table, give
    `EIGHT` as the label set.

    Args:
        store: FER-2013, from a layout with row numbers.
        votes: FER+'s votes.
        out: the file, with suffix `.parquet`; an existing file is replaced.

    Raises:
        InputError: the votes belong to other data (see `Votes.join`), no face has a majority, or
            `out` has another suffix.
        MissingExtraError: pyarrow is not installed.
    """
    if out.suffix != ".parquet":
        raise InputError(f"--out {out}: give a name that ends in .parquet")
    if same_file(out, store.source) or same_file(out, votes.source):
        raise InputError(f"--out {out}: it would replace what is read; choose another name")
    with extra_required("data", "writing parquet files"):
        import pyarrow
        import pyarrow.parquet
    majority = votes.join(store).majority()
    chosen = np.flatnonzero(majority >= 0)
    if not len(chosen):
        raise InputError(
            f"{votes.source}: no face of {store.source} has a majority for an expression; give more of "
            "the data"
        )
    schema = pyarrow.schema(
        {
            "row": pyarrow.string(),
            "usage": pyarrow.string(),
            "label": pyarrow.string(),
            "image": pyarrow.struct({"bytes": pyarrow.binary()}),
        }
    )
    with atomic_file(out) as handle, pyarrow.parquet.ParquetWriter(handle, schema) as writer:
        for rows in _rows(store, majority, chosen):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    named = [(SPLITS[store.splits[face]], EIGHT[majority[face]]) for face in chosen]
    splits = [split for split in SPLITS if any(split == of for of, _ in named)]
    return Majority(
        counts={split: {name: named.count((split, name)) for name in EIGHT} for split in splits},
        unknown=int((majority == UNKNOWN).sum()),
        no_face=int((majority == NO_FACE).sum()),
    )


def _rows(
    store: FaceStore, majority: NDArray[np.int64], chosen: NDArray[np.int64]
) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(chosen), _ROWS_AT_A_TIME):
        faces = chosen[start : start + _ROWS_AT_A_TIME]
        yield [
            {
                "row": str(store.rows[face]),
                "usage": SPLITS[store.splits[face]],
                "label": EIGHT[majority[face]],
                "image": {"bytes": _png(pixels)},
            }
            for face, pixels in zip(faces.tolist(), store.read(faces), strict=True)
        ]


def _png(face_CHW: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    pixels = face_CHW[0] if len(face_CHW) == 1 else face_CHW.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
