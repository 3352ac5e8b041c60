"""FaceStore: the common form of all sources; uint8 pixels on disk, memory-mapped, with labels and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, reading_from
from mien.expressions import Expressions

#: Stores with more bytes of pixels are read from their file face by face, because the pages of a memory map
#: count as the process's own memory as long as they are mapped.
MAPPED_BYTES = 1_000_000_000
#: The values of `FaceStore.splits` are positions in this tuple.
SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


#: The beginning of the remark on labels that are numbers; `FaceStore.numbered` looks for it.
NUMBERS = "labels are numbers without names, read in"


@dataclass(frozen=True)
class FaceStore:
    """N faces of one size with labels, splits and names.

    Attributes:
        pixels: uint8 (N, C, H, W), C = 1 (gray) or 3 (RGB), usually memory-mapped read-only.
        labels: int64 (N,), index into `expressions`.
        splits: uint8 (N,), index into `SPLITS`.
        rows: str (N,), the source's own name of each face (CSV row number, file path).
        digests: uint64 (N, 2), a 128-bit hash of each face's shape and pixels: equal for exact
            copies.
        expressions: the label set.
        fingerprint: SHA-256 in hex of pixels, labels, label set and splits; does not depend on the
            order or the layout of the source.
        source: the path or name of the source, for messages.
        path: the folder that holds the store; None for a store that is only in memory.
        layout: the name of the source's layout; empty if no source was read.
        notes: remarks for the user: files left out, oddities of the data.
        damaged: number of pictures left out because they could not be decoded.

    >>> from mien.data import load
    >>> store = load("synthetic:10")
    >>> store.faces(np.array([4, 0])).pixels().shape
    (2, 1, 48, 48)
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

    @property
    def numbered(self) -> bool:
        """Whether the labels are numbers that were read in the order of the label set."""
        return any(note.startswith(NUMBERS) for note in self.notes)

    def faces(self, indices: NDArray[np.int64]) -> FaceView:
        """A view of the faces at `indices`, int64 (n,), in the given order."""
        return FaceView(self, np.asarray(indices, dtype=np.int64))

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copy the pixels of some faces to memory, in the given order: uint8 (n, C, H, W).

        Of a large store (see `MAPPED_BYTES`) only these faces enter the process's own memory.

        Raises:
            InputError: the file of a large store is shorter than it should be, or cannot be read.
        """
        pixels: Any = self.pixels
        # A slice of a memory map still has the offset of the whole file, so only whole maps can be read by offset.
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
    """Some faces of a store, usually one split. Pixels are read only when they are asked for.

    Attributes:
        store: the store.
        indices: int64 (n,), positions of the faces in the store.

    >>> from mien.data import load, split
    >>> train = split(load("synthetic:10")).train
    >>> [batch.shape for batch in train.batches(8)]
    [(8, 1, 48, 48), (2, 1, 48, 48)]
    """

    store: FaceStore
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def expressions(self) -> Expressions:
        """The label set of the store."""
        return self.store.expressions

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels, int64 (n,), indices into `expressions`."""
        return self.store.labels[self.indices]

    @property
    def rows(self) -> NDArray[np.str_]:
        """The source's own names of the faces, str (n,)."""
        return self.store.rows[self.indices]

    @property
    def digests(self) -> NDArray[np.uint64]:
        """The 128-bit hashes of the faces, uint64 (n, 2)."""
        return self.store.digests[self.indices]

    @property
    def order(self) -> str:
        """SHA-256, in hex, of the faces in this order; the store's fingerprint does not depend on the order."""
        return hashlib.sha256(self.digests.astype("<u8").tobytes()).hexdigest()

    def evenly(self, wanted: int) -> FaceView:
        """A view of up to `wanted` of the faces, evenly spaced."""
        return self.store.faces(self.indices[evenly(len(self), wanted)])

    def pixels(self) -> NDArray[np.uint8]:
        """Copy all pixels to memory: uint8 (n, C, H, W), gray or RGB, 0..255."""
        return self.store.read(self.indices)

    def batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels in order: uint8 (b, C, H, W), b = `size`, or fewer in the last batch."""
        for start in range(0, len(self), size):
            yield self.store.read(self.indices[start : start + size])


def evenly(count: int, wanted: int) -> NDArray[np.int64]:
    """Choose up to `wanted` evenly spaced numbers from 0 to count - 1: int64 (n,).

    >>> evenly(100, 3).tolist()
    [0, 50, 99]
    """
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64)
