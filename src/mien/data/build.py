"""Write a FaceStore to disk with one face in memory at a time, and open it again."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Sequence
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
from mien.files import read_json, write_reasons
from mien.input_spec import InputSpec
from mien.resize import ready_crop, squared
from mien.terminal import counting

Size = tuple[int, int]
_ROWS_AT_A_TIME = 65_536
#: Name of the file in a store that lists the damaged pictures, which were left out.
DAMAGED = "damaged.csv"
#: The number of damaged pictures that an error message names.
_DAMAGED_NAMED = 3


class DamagedStoreError(Exception):
    """A store on disk is incomplete or unreadable; it has to be built again."""


@dataclass(frozen=True)
class _Plan:
    """The shape that all faces get, as far as it is known; each reading of the source may refine it.

    Training and validation faces decide the shape. Test faces are fitted to it, because otherwise
    they would influence training. If a source has only test faces (`tests_decide`), they decide.

    Attributes:
        colour: store three channels, because at least one deciding face has colour.
        resize: (height, width) for all faces, because the deciding faces differ in size.
        expected: (height, width) of the deciding faces, if test faces come before them.
        tests_decide: test faces decide the shape, because the source has no others.
    """

    colour: bool = False
    resize: Size | None = None
    expected: Size | None = None
    tests_decide: bool = False


class _PlanAnewError(Exception):
    """A face does not fit the plan: read the source again with the new `plan`."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan


def write_store(
    source: Source,
    folder: Path,
    *,
    origin: str,
    size: Size,
    layout: str = "",
    notes: Sequence[str] = (),
    skip_damaged: bool = False,
) -> None:
    """Read a source and write its store; a source with mixed images is read more than once.

    All faces get one shape. Images that are not square are made so, see `mien.resize.squared`. If the
    training and validation images then have one size, it is kept; else all are resized to `size`
    (bilinear). Faces are stored in gray unless one of these images has colour. Test faces do not
    influence the shape: they are fitted to it. Memory grows by about 100 bytes a face.

    Args:
        source: the faces.
        folder: an empty folder for the store.
        origin: the path or name of the source, for messages.
        size: (height, width) in pixels for a source with mixed sizes.
        layout: the name of the source's layout, for messages.
        notes: remarks on the source, kept in the store.
        skip_damaged: leave out pictures that cannot be decoded, and list them in `DAMAGED`.

    Raises:
        InputError: the source has a fault or no faces, or pictures cannot be decoded (all are named)
            and `skip_damaged` is False.
    """
    writer, damaged = _write_pixels(source, folder / "pixels.npy", size, skip_damaged=skip_damaged)
    labels = np.frombuffer(writer.labels, np.int64)
    splits = np.frombuffer(writer.splits, np.uint8)
    digests = np.frombuffer(writer.digests, np.uint64).reshape(-1, 2)
    _write_array(folder / "labels.npy", labels)
    _write_array(folder / "splits.npy", splits)
    _write_array(folder / "digests.npy", digests)
    _write_names(folder / "rows.npy", writer.rows)
    notes = list(notes)
    if damaged:
        write_reasons(folder / DAMAGED, "row", ((one.row, one.reason) for one in damaged))
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
    source: Source, path: Path, size: Size, *, skip_damaged: bool
) -> tuple[_Writer, list[Damaged]]:
    """Write all pixels, again from the start if pictures of mixed kinds are met.

    Returns:
        The writer, which holds labels, splits and digests; and the pictures that cannot be decoded.
    """
    plan = _Plan()
    # Ends, because each new plan only adds facts: colour, expected size, one size for all.
    while True:
        damaged: list[Damaged] = []
        with path.open("wb") as file, counting("reading faces") as progress:
            writer = _Writer(file, plan, size)
            try:
                for done, sample in enumerate(source.samples(), 1):
                    if isinstance(sample, Damaged):
                        damaged.append(sample)
                    else:
                        writer.add(sample)
                    progress(done, source.total)
                if damaged and not skip_damaged:
                    raise _damage(damaged)
                writer.finish()
            except _PlanAnewError as again:
                plan = again.plan
            else:
                return writer, damaged


def open_store(folder: Path) -> FaceStore:
    """Open a store that `write_store` wrote; its pixels are memory-mapped read-only.

    Raises:
        FileNotFoundError: the folder does not exist.
        DamagedStoreError: the store is incomplete or unreadable.
    """
    about_path = folder / "store.json"
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    try:
        about = read_json(about_path, "read the data again")
        # A file cut short is noticed here, not in the middle of a training that reads it.
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
    """Hash a face, uint8 (C, H, W), to 16 bytes (BLAKE2b of its shape and pixels)."""
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()


def fingerprint(
    labels: NDArray[np.int64],
    splits: NDArray[np.uint8],
    digests: NDArray[np.uint64],
    expressions: Expressions,
) -> str:
    """Hash a whole store: SHA-256, in hex, of the label set and of each face's (digest, label, split).

    Faces are sorted first, so that the fingerprint does not depend on their order in the source.

    Args:
        labels: int64 (N,), index into `expressions`.
        splits: uint8 (N,), index into `SPLITS`.
        digests: uint64 (N, 2), see `digest`.
        expressions: the label set.
    """
    order = np.lexsort((splits, labels, digests[:, 1], digests[:, 0]))
    whole = hashlib.sha256(json.dumps(list(expressions)).encode())
    for start in range(0, len(order), _ROWS_AT_A_TIME):
        part = order[start : start + _ROWS_AT_A_TIME]
        table = np.column_stack((digests[part], labels[part], splits[part]))  # uint64 throughout
        whole.update(table.astype("<u8").tobytes())
    return whole.hexdigest()


class _Writer:
    """Appends faces of one shape to an .npy file; their number is known only at the end.

    Raises `_PlanAnewError` as soon as a face does not fit the plan.
    """

    def __init__(self, file: IO[bytes], plan: _Plan, size: Size) -> None:
        """Start a file; `size` (height, width) is for a source with mixed sizes."""
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
        # As recognition does with a ready crop: training must see the same face.
        image = squared(sample.image)
        image = self._decide(image) if decides else self._adapt(image)
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
        """Write the number of faces into the header at the beginning of the file."""
        if self._shape is None:
            raise InputError("no faces in the source; check its content")
        if self._odd_tests and not self._anyone_decided:  # only test faces, and they differ
            raise _PlanAnewError(replace(self._plan, tests_decide=True))
        self._file.seek(0)
        if self._write_header() != self._header_bytes:  # numpy pads headers for any number of rows
            raise RuntimeError("the header of pixels.npy does not fit its place")

    def _decide(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Check a deciding face against the plan; return its image, resized if the plan says so."""
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
        """Return the image of a test face, fitted to the shape of the others."""
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
    """The error for pictures that cannot be decoded; it names up to `_DAMAGED_NAMED` of them."""
    if len(damaged) == 1:
        return InputError(f"{damaged[0].reason}; or leave it out with --skip-damaged")
    named = "; ".join(one.reason for one in damaged[:_DAMAGED_NAMED])
    more = len(damaged) - _DAMAGED_NAMED
    return InputError(
        f"{len(damaged):,} damaged pictures: {named}{f'; and {more:,} more' if more > 0 else ''}; "
        "correct them, or leave them out with --skip-damaged, which lists them all"
    )


def _resized(image: NDArray[np.uint8], size: Size, *, gray: bool = False) -> NDArray[np.uint8]:
    """Resize an image, uint8 (H, W) or (H, W, 3) RGB, to (height, width) with recognition's own resizing."""
    if image.shape[:2] == size and not gray:
        return image
    channels = 1 if gray or image.ndim == 2 else 3
    (made,) = ready_crop(image, InputSpec(channels, *size))
    return made[0] if channels == 1 else np.ascontiguousarray(made.transpose(1, 2, 0))


def _write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an .npy file. numpy's own `save` does not report a disk that is full at the last bytes."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.tobytes())


def _write_names(path: Path, names: list[str]) -> None:
    """Write an .npy file of strings in parts, because one array of a million paths would fill the memory."""
    kind = np.dtype(f"<U{max(map(len, names))}")
    with path.open("wb") as file:
        header = {"descr": kind.str, "fortran_order": False, "shape": (len(names),)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(names), _ROWS_AT_A_TIME):
            file.write(np.array(names[start : start + _ROWS_AT_A_TIME], kind).tobytes())
