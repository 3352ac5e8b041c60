"""The work of a worker: recognise the pictures of a shard and write one parquet file."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import pyarrow
import pyarrow.parquet

from mien.errors import InputError
from mien.predict_on_ray.shards import Shard, pictures
from mien.predict_on_ray.storage import Place
from mien.recognise.recognizer import Recognizer, Seen
from mien.recognise.rows import Row, columns, row

#: Name of the folder of results inside a job's folder.
RESULTS = "results"
#: Number of pictures whose faces are one batch for the network.
_TOGETHER = 32
_COUNTS = b"mien.counts"


@dataclass(frozen=True)
class Work:
    """The settings of all shards of a job.

    Attributes:
        dataset: the pictures.
        out: the folder of the job.
        model: the content of a model file.
        faces: the name of a detector.
        size: the size for face detection, see `YuNet`.
        device: the device of the network.
        column: the column of pictures in parquet files.
    """

    dataset: Place
    out: Place
    model: bytes
    faces: str
    size: int | None
    device: str
    column: str | None


@dataclass(frozen=True)
class Counts:
    """Counts of recognised pictures; `broken` lists (picture, reason) of those that could not be read.

    >>> Counts(2, 3) + Counts(1, 0, without_a_face=1)
    Counts(pictures=3, faces=3, without_a_face=1, broken=[])
    """

    pictures: int = 0
    faces: int = 0
    without_a_face: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.pictures + other.pictures,
            self.faces + other.faces,
            self.without_a_face + other.without_a_face,
            self.broken + other.broken,
        )


def recognise_shard(work: Work, shard: Shard) -> Counts:
    """Recognise the pictures of a shard and write its file, with the rows of `mien predict --csv`.

    Raises:
        InputError: the dataset or the results cannot be reached.
    """
    recognizer = _recognizer(work.model, work.faces, work.size, work.device)
    counts = Counts()
    rows: list[Row] = []
    waiting: list[tuple[str, Seen]] = []

    def answer() -> Counts:
        answers = recognizer.answer([seen for _, seen in waiting])
        for (name, _), faces in zip(waiting, answers, strict=True):
            rows.extend(row(name, 0, None, face) for face in faces)
        waiting.clear()
        found = [len(faces) for faces in answers]
        return Counts(len(found), sum(found), found.count(0))

    for name, content in pictures(work.dataset, shard, work.column):
        try:
            if isinstance(content, InputError):
                raise content
            waiting.append((name, recognizer.look(content)))
        except InputError as error:
            counts += Counts(1, broken=[(name, str(error).removeprefix("the bytes given: "))])
        if len(waiting) == _TOGETHER:
            counts += answer()
    counts += answer()
    kinds = columns(recognizer.card.expressions)
    work.out.write(f"{RESULTS}/{shard.file}", _to_parquet(rows, kinds, counts))
    return counts


def counts_of(out: Place, file: str) -> Counts:
    """Read the counts of a finished shard from its file."""
    metadata = pyarrow.parquet.read_metadata(
        out.below(f"{RESULTS}/{file}"), filesystem=out.filesystem
    ).metadata
    told: dict[str, Any] = json.loads(metadata[_COUNTS])
    return Counts(**{**told, "broken": [(name, why) for name, why in told["broken"]]})


@lru_cache(maxsize=1)
def _recognizer(model: bytes, faces: str, size: int | None, device: str) -> Recognizer:
    """The recogniser of this worker process; on one thread, because there are as many workers as cores."""
    cv2.setNumThreads(1)
    return Recognizer(model, device=device, threads=1, detector=faces, size=size)


def _to_parquet(rows: Sequence[Row], kinds: dict[str, str], counts: Counts) -> bytes:
    """Encode rows as parquet, with the counts in its footer: in one file, so that both exist or neither."""
    schema = pyarrow.schema(
        [(name, pyarrow.type_for_alias(kind)) for name, kind in kinds.items()],
        metadata={_COUNTS: json.dumps(vars(counts))},
    )
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), stream)
    return stream.getvalue()
