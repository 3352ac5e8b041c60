"""Writing a FaceStore to disk, one face in memory at a time, and opening it again."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mien.data.copies import repeats_told
from mien.data.images import is_gray
from mien.data.reading import Damaged, Sample, Source
from mien.data.store import TEST, FaceStore
from mien.errors import InputError
from mien.expressions import Expressions
from mien.files import read_json, spreadsheet_name
from mien.input_spec import InputSpec
from mien.resize import ready_crop

Size = tuple[int, int]
_ROWS_AT_A_TIME = 65_536
#: The list of pictures that were left out, in a store.
DAMAGED = "damaged.csv"
_DAMAGED_NAMED = 20


class DamagedStoreError(Exception):
    """A store on disk is not whole."""


@dataclass(frozen=True)
class _Plan:
    """What is known of the shape that all faces get; every reading of a source may learn more.

    Test faces decide nothing, for then they would change what is trained: they are fitted to the
    others. Only where there are no others (`tests_decide`) is the shape theirs.
    """

    colour: bool = False
    resize: Size | None = None
    #: Of the faces that decide, where test faces come before them.
    expected: Size | None = None
    tests_decide: bool = False


class _PlanAnewError(Exception):
    """A face does not fit the plan: the source has to be read again by another."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan


def write_store(
    source: Source,
    folder: Path,
    *,
    origin: str,
    size: Size,
    progress: bool,
    layout: str = "",
    notes: Sequence[str] = (),
    skip_damaged: bool = False,
) -> None:
    """Read a source once (again where its images turn out to be mixed) and write its store.

    All faces get one shape: the source's own where its images are uniform, else `size` (height,
    width; bilinear, aspect not kept); gray unless an image has colour. Test faces have no say in
    it, they are fitted to the others. Memory does not grow with the source, but for about 100 bytes
    a face.

    Args:
        source: the faces.
        folder: an empty one, for the store.
        origin: where they come from, for people.
        size: (height, width) of all where the source mixes sizes.
        progress: whether to show a bar, on a terminal.
        layout: what the source was read as; notes: sentences that people are told of it.
        skip_damaged: leave out pictures that cannot be decoded, and list them in `DAMAGED`.

    Raises:
        InputError: the first thing that is wrong, or all pictures that cannot be decoded.
    """
    writer, damaged = _write_pixels(
        source, folder / "pixels.npy", size, progress=progress, skip_damaged=skip_damaged
    )
    labels = np.frombuffer(writer.labels, np.int64)
    splits = np.frombuffer(writer.splits, np.uint8)
    digests = np.frombuffer(writer.digests, np.uint64).reshape(-1, 2)
    _write_array(folder / "labels.npy", labels)
    _write_array(folder / "splits.npy", splits)
    _write_array(folder / "digests.npy", digests)
    _write_names(folder / "rows.npy", writer.rows)
    notes = list(notes)
    if damaged:
        _write_damaged(folder / DAMAGED, damaged)
        notes.append(
            f"damaged pictures, left out and listed in {DAMAGED} of the store: {len(damaged):,}"
        )
    if (repeated := repeats_told(digests)) is not None:
        notes.append(repeated)
    about = {
        "expressions": list(source.expressions),
        "fingerprint": fingerprint(labels, splits, digests, source.expressions),
        "source": origin,
        "layout": layout,
        "notes": notes,
        "damaged": len(damaged),
        "bytes": {file.name: file.stat().st_size for file in sorted(folder.glob("*.npy"))},
    }
    (folder / "store.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _write_pixels(
    source: Source, path: Path, size: Size, *, progress: bool, skip_damaged: bool
) -> tuple[_Writer, list[Damaged]]:
    """Write all pixels, anew if images turn out to be mixed; the writer, which holds the labels, and the damaged."""
    plan = _Plan()
    while True:
        damaged: list[Damaged] = []
        with path.open("wb") as file, _bar(source.total, progress) as advance:
            writer = _Writer(file, plan, size)
            try:
                for sample in source.samples():
                    if isinstance(sample, Damaged):
                        damaged.append(sample)
                    else:
                        writer.add(sample)
                    advance()
                if damaged and not skip_damaged:
                    raise _damage(damaged)
                writer.finish()
            except _PlanAnewError as again:
                plan = again.plan
            else:
                return writer, damaged


def open_store(folder: Path) -> FaceStore:
    """The store that `write_store` wrote, its pixels memory-mapped read-only.

    FileNotFoundError where there is none; DamagedStoreError where it is not whole.
    """
    about_path = folder / "store.json"
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        about = read_json(about_path, "read the data again")
        for name, count in about["bytes"].items():
            if (folder / name).stat().st_size != count:
                raise DamagedStoreError(f"{folder / name}: not {count} bytes")
        return FaceStore(
            pixels=np.load(folder / "pixels.npy", mmap_mode="r"),
            labels=np.load(folder / "labels.npy"),
            splits=np.load(folder / "splits.npy"),
            rows=np.load(folder / "rows.npy", mmap_mode="r"),
            digests=np.load(folder / "digests.npy"),
            expressions=tuple(about["expressions"]),
            fingerprint=about["fingerprint"],
            source=about["source"],
            layout=about["layout"],
            notes=tuple(about["notes"]),
            damaged=about["damaged"],
            path=folder,
        )
    except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStoreError(f"{folder}: {error}") from error


def digest(pixels: NDArray[np.uint8]) -> bytes:
    """16 bytes that tell a face's shape and pixels: uint8 (C, H, W)."""
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()


def fingerprint(
    labels: NDArray[np.int64],
    splits: NDArray[np.uint8],
    digests: NDArray[np.uint64],
    expressions: Expressions,
) -> str:
    """sha256 over the label set and every face's (digest, label's name, split), in sorted order.

    Sorted, so that the same faces have the same fingerprint in whatever order a layout lists them.
    """
    order = np.lexsort((splits, labels, digests[:, 1], digests[:, 0]))
    whole = hashlib.sha256(json.dumps(list(expressions)).encode())
    for start in range(0, len(order), _ROWS_AT_A_TIME):
        part = order[start : start + _ROWS_AT_A_TIME]
        table = np.column_stack((digests[part], labels[part], splits[part]))  # uint64 throughout
        whole.update(table.astype("<u8").tobytes())
    return whole.hexdigest()


class _Writer:
    """Appends faces of one shape to an .npy file whose length is known only at the end."""

    def __init__(self, file: IO[bytes], plan: _Plan, size: Size) -> None:
        """`size` is what mixed sizes are resized to."""
        self.labels, self.splits, self.digests = array("q"), bytearray(), bytearray()
        self.rows: list[str] = []
        self._file = file
        self._plan = plan
        self._mixed_size = size
        self._decided = plan.resize or plan.expected
        self._odd_tests = False
        self._anyone_decided = False
        self._shape: tuple[int, int, int] | None = None

    def add(self, sample: Sample) -> None:
        decides = self._plan.tests_decide or sample.split != TEST
        image = self._decide(sample.image) if decides else self._adapt(sample.image)
        pixels = self._stacked(image)
        if self._shape is None:
            self._shape = pixels.shape
            self._header_bytes = self._write_header()
        self._file.write(pixels.tobytes())
        self.labels.append(sample.label)
        self.splits.append(sample.split)
        self.digests += digest(pixels)
        self.rows.append(sample.row)

    def finish(self) -> None:
        """Put the number of faces into the header."""
        if self._shape is None:
            raise InputError("no faces in the source; check what it holds")
        if self._odd_tests and not self._anyone_decided:
            raise _PlanAnewError(replace(self._plan, tests_decide=True))
        self._file.seek(0)
        if self._write_header() != self._header_bytes:  # numpy leaves room for any length
            raise RuntimeError("the header of pixels.npy does not fit its place")

    def _decide(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image of a face that has a say in the shape, resized where the plan says so."""
        if not self._plan.colour and not is_gray(image):
            raise _PlanAnewError(replace(self._plan, colour=True))
        if self._plan.resize:
            image = _resized(image, self._plan.resize)
        size = image.shape[0], image.shape[1]
        if not self._anyone_decided and not self._plan.expected:
            if self._shape is not None and size != self._shape[1:]:  # test faces came first
                raise _PlanAnewError(replace(self._plan, expected=size))
            self._decided = size
        elif size != self._decided:
            raise _PlanAnewError(replace(self._plan, resize=self._mixed_size, expected=None))
        self._anyone_decided = True
        return image

    def _adapt(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image of a test face, brought to the shape of the others."""
        self._decided = self._decided or (image.shape[0], image.shape[1])
        gray = not self._plan.colour and not is_gray(image)
        fitted = _resized(image, self._decided, gray=gray)
        self._odd_tests |= fitted.shape != image.shape
        return fitted

    def _stacked(self, image: NDArray[np.uint8]) -> Any:
        """uint8 (H, W) or (H, W, 3) -> (C, H, W)."""
        if not self._plan.colour:
            return (image if image.ndim == 2 else image[..., 0])[None]
        if image.ndim == 2:
            return np.broadcast_to(image, (3, *image.shape))
        return image.transpose(2, 0, 1)

    def _write_header(self) -> int:
        shape = (len(self.rows), *(self._shape or ()))
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()


def _damage(damaged: Sequence[Damaged]) -> InputError:
    """The refusal of pictures that cannot be decoded, all at once."""
    if len(damaged) == 1:
        return InputError(f"{damaged[0].reason}; or leave it out with --skip-damaged")
    named = "; ".join(one.reason for one in damaged[:_DAMAGED_NAMED])
    more = len(damaged) - _DAMAGED_NAMED
    return InputError(
        f"{len(damaged):,} damaged pictures: {named}{f'; and {more:,} more' if more > 0 else ''}; "
        "correct them, or leave them out with --skip-damaged"
    )


def _write_damaged(path: Path, damaged: Sequence[Damaged]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["row", "reason"])
        rows.writerows([spreadsheet_name(one.row), one.reason] for one in damaged)


def _resized(image: NDArray[np.uint8], size: Size, *, gray: bool = False) -> NDArray[np.uint8]:
    """The image, uint8 (H, W) or (H, W, 3), at (height, width), as recognition would bring it there."""
    if image.shape[:2] == size and not gray:
        return image
    channels = 1 if gray or image.ndim == 2 else 3
    (made,) = ready_crop(image, InputSpec(channels, *size))
    return made[0] if channels == 1 else np.ascontiguousarray(made.transpose(1, 2, 0))


def _write_array(path: Path, array: NDArray[Any]) -> None:
    """An .npy. numpy's own `save` does not notice a disk that is full when its last bytes go out."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.tobytes())


def _write_names(path: Path, names: list[str]) -> None:
    """An .npy of strings, in parts: as one array a million paths would fill the memory."""
    kind = np.dtype(f"<U{max(map(len, names))}")
    with path.open("wb") as file:
        header = {"descr": kind.str, "fortran_order": False, "shape": (len(names),)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(names), _ROWS_AT_A_TIME):
            file.write(np.array(names[start : start + _ROWS_AT_A_TIME], kind).tobytes())


@contextmanager
def _bar(total: int | None, shown: bool) -> Iterator[Any]:
    """A progress bar on standard error, where that is a terminal; yields a call for each face."""
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("reading faces", total=total)
        yield lambda: bar.advance(task)
