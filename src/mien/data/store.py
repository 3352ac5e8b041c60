"""FaceStore: what every source becomes. uint8 on disk, memory-mapped, with labels and splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, reading_from
from mien.expressions import Expressions

#: A store of more bytes is read from its file face by face: pages of a memory map count as the
#: process's own for as long as they are mapped.
MAPPED_BYTES = 1_000_000_000
#: Code of a split in `FaceStore.splits` is its position here.
SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True)
class FaceStore:
    """N faces of one size with labels, splits and identities.

    Attributes:
        pixels: uint8 (N, C, H, W), C = 1 (gray) or 3 (RGB), usually memory-mapped read-only.
        labels: int64 (N,), index into `expressions`.
        splits: uint8 (N,), index into `SPLITS`.
        rows: str (N,), the source's own name of each face (CSV row number, file path).
        digests: uint64 (N, 2), a 128-bit hash of each face's shape and pixels: equal for exact
            copies.
        expressions: the label set.
        fingerprint: hex; covers pixels, labels and splits, whatever the source's order or layout.
        source: where the faces came from, for people.
        path: the folder that holds the store; None for one that is only in memory.
        layout: what the source was read as; empty where nothing was read.
        notes: sentences that whoever uses the faces should be told: what was passed over, what is odd.
        damaged: how many pictures of the source were left out, for they could not be decoded.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8]
    rows: NDArray[np.str_]
    digests: NDArray[np.uint64]
    expressions: Expressions
    fingerprint: str
    source: str
    path: Path | None = None
    layout: str = ""
    notes: tuple[str, ...] = ()
    damaged: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def faces(self, indices: NDArray[np.int64]) -> FaceView:
        """A view of some of the faces, in the given order."""
        return FaceView(self, np.asarray(indices, dtype=np.int64))

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pixels of some faces in memory, in the given order: uint8 (n, C, H, W), a copy.

        Of a store larger than memory, no more than these are in the process's own memory.
        """
        pixels: Any = self.pixels
        # A part of a map does not know where in the file it begins.
        whole_file = isinstance(pixels, np.memmap) and isinstance(pixels.base, mmap)
        if not whole_file or pixels.nbytes <= MAPPED_BYTES:
            return np.ascontiguousarray(pixels[indices])
        faces = np.empty((len(indices), *pixels.shape[1:]), np.uint8)
        path = Path(pixels.filename)
        with reading_from(str(path)), path.open("rb", buffering=0) as file:
            for face, index in zip(faces, indices.tolist(), strict=True):
                file.seek(pixels.offset + index * face.nbytes)
                if file.readinto(face.data) != face.nbytes:
                    raise InputError(f"{path}: cut short; read the data again")
        return faces


@dataclass(frozen=True)
class FaceView:
    """Some faces of a store: one split, usually. Pixels stay on disk until asked for."""

    store: FaceStore
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def expressions(self) -> Expressions:
        return self.store.expressions

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (n,)."""
        return self.store.labels[self.indices]

    @property
    def rows(self) -> NDArray[np.str_]:
        """str (n,)."""
        return self.store.rows[self.indices]

    @property
    def digests(self) -> NDArray[np.uint64]:
        """uint64 (n, 2)."""
        return self.store.digests[self.indices]

    def pixels(self) -> NDArray[np.uint8]:
        """All of them in memory: uint8 (n, C, H, W), a copy."""
        return self.store.read(self.indices)

    def batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """uint8 (b, C, H, W) in order, b = size but for the last one."""
        for start in range(0, len(self), size):
            yield self.store.read(self.indices[start : start + size])
