"""Making training data from photos: faces are cropped in the same way as in recognition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.callbacks import Progress
from mien.card import MAX_SIDE, CropRule
from mien.data.class_folders import ClassFolders, class_name
from mien.data.reading import Request
from mien.data.tree import Entry, FolderTree
from mien.decoding import is_image
from mien.errors import InputError
from mien.expressions import parse_expressions
from mien.files import atomic_folder, fitting, write_reasons
from mien.input_spec import InputSpec
from mien.recognise.detect import Detection, Detector, checked, crop, crop_side
from mien.recognise.detectors import USUAL, open_detector
from mien.recognise.pictures import read_picture

#: Side of the largest network input of all recipes, in pixels: no network uses more resolution.
LARGEST = 224
#: Name of the list of skipped photos, in the folder of faces.
SKIPPED = "skipped.csv"

_WANTED = "give photos of one face each in folders named after expressions, such as happy/1.jpg"

#: Treatment of photos with several faces.
Several = Literal["skip", "largest"]


@dataclass(frozen=True)
class Skipped:
    """A skipped photo: its path relative to the folder of photos, the reason as text, and its kind."""

    file: str
    reason: str
    kind: Literal["no face", "several faces", "no class folder", "unreadable"]


@dataclass(frozen=True)
class Cropped:
    """The result of `crop_faces`: the new folder, the number of faces, the skipped photos."""

    out: Path
    faces: int
    skipped: list[Skipped]

    @property
    def counts(self) -> Counter[str]:
        """The number of skipped photos by the kind of the reason."""
        return Counter(one.kind for one in self.skipped)


def crop_faces(
    photos: Path,
    out: Path,
    *,
    side: int | None = None,
    several: Several = "skip",
    labels: Sequence[str] | None = None,
    detector: str | Detector = USUAL,
    size: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Cropped:
    """Crop the face of each photo in class folders, into a new folder of the same structure.

    `train/happy/1.jpg` becomes `train/happy/1.jpg.png`: RGB, lossless, cropped by the default
    `CropRule`. Photos without a face are skipped, and so are photos with several faces (the folder's
    expression may be of any of them) and files that cannot be read. `skipped.csv` lists them. The new
    folder appears complete or not at all.

    Args:
        photos: a folder of class folders, optionally below train/, validation/ and test/.
        out: the new folder.
        side: side of all crops in pixels. By default each crop keeps its resolution in the photo, up to
            224, for networks of any input size; training then resizes a second time, so its faces are
            slightly softer than recognition's. With the side of the network's input, training gets the
            same pixels as recognition (within one gray level for a gray network and colour photos).
        several: `skip` or `largest`: take the largest face of photos with several.
        labels: the label set of the folders, if it is not the usual seven expressions.
        detector, size: the face detector and its size, as `Recognizer` takes them.
        progress: called after each photo with (photos done, all photos).

    Returns:
        The number of faces, and the skipped photos.

    Raises:
        InputError: a folder is not named after an expression, `out` exists or lies in `photos`, an argument
            is out of range, or no photo gives a face.
    """
    photos, out = Path(photos), Path(out)
    _refuse_misfits(photos, out, side, several)
    tree = FolderTree(photos)
    found = [entry for entry in tree.entries if is_image(entry.name)]
    # So that folders that training would refuse are refused now.
    ClassFolders(found, Request(None if labels is None else parse_expressions(labels)))
    cutter = _Cutter(open_detector(detector, size=size), side, several)
    skipped: list[Skipped] = []
    with atomic_folder(out) as folder:
        for done, entry in enumerate(found, 1):
            face = cutter(entry, photos / entry.key)
            if isinstance(face, Skipped):
                skipped.append(face)
            else:
                _write_face(folder / f"{entry.name}.png", face)
            progress(done, len(found))
        cropped = Cropped(out, len(found) - len(skipped), skipped)
        if not cropped.faces:
            raise InputError(f"{photos}: nothing to crop ({_summary(cropped)}); {_WANTED}")
        write_reasons(folder / SKIPPED, "file", ((one.file, one.reason) for one in skipped))
    return cropped


def _write_face(file: Path, face: NDArray[np.uint8]) -> None:
    """Write a face; the file keeps the photo's suffix, so that 1.jpg and 1.png give two files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(face).save(fitting(file))


def _refuse_misfits(photos: Path, out: Path, side: int | None, several: str) -> None:
    if several not in ("skip", "largest"):
        raise InputError(f"several faces {several!r}: skip or largest")
    if side is not None and not 1 <= side <= MAX_SIDE:
        raise InputError(f"side {side}: faces have 1 to {MAX_SIDE} pixels a side")
    if out.exists() or out.is_symlink():
        raise InputError(f"{out}: exists already; choose another folder or remove it")
    if photos.resolve() in out.resolve().parents:
        raise InputError(f"{out}: lies among the photos; choose a folder outside of {photos}")
    if photos.is_file():
        raise InputError(f"{photos}: a file; {_WANTED}")


class _Cutter:
    """Crops the face of one photo, or returns the reason that it is skipped."""

    def __init__(self, detector: Detector, side: int | None, several: Several) -> None:
        self._detector = detector
        self._side = side
        self._several = several
        self._rule = CropRule()

    def __call__(self, entry: Entry, path: Path) -> NDArray[np.uint8] | Skipped:
        """Returns the crop, uint8 RGB (side, side, 3), or the skipped photo."""
        if class_name(entry) is None:
            return Skipped(entry.name, "in no class folder", "no class folder")
        try:
            picture = read_picture(path)
            faces = checked(self._detector(picture))
            if not faces:
                return Skipped(entry.name, "no face", "no face")
            if len(faces) > 1 and self._several == "skip":
                return Skipped(entry.name, f"{len(faces)} faces", "several faces")
            return self._cut(picture, max(faces, key=_area))
        except InputError as error:
            return Skipped(entry.name, str(error), "unreadable")

    def _cut(self, picture: NDArray[np.uint8], face: Detection) -> NDArray[np.uint8]:
        side = self._side or min(LARGEST, max(1, round(crop_side(face, self._rule))))
        cut = crop(picture, face, self._rule, InputSpec(channels=3, height=side, width=side))
        return np.ascontiguousarray(cut.transpose(1, 2, 0))


def _area(face: Detection) -> float:
    return face.box[2] * face.box[3]


def _summary(cropped: Cropped) -> str:
    counts = (f"{kind}: {number:,}" for kind, number in cropped.counts.items())
    return ", ".join(counts) or "no photos"
