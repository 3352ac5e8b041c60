"""Own photos as training data: their faces, cut out as recognition cuts them."""

from __future__ import annotations

import csv
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
from mien.errors import InputError
from mien.expressions import Expressions
from mien.files import atomic_folder, fitting_name, spreadsheet_name
from mien.input_spec import InputSpec
from mien.recognise.detect import Detection, Detector, checked, crop, crop_side
from mien.recognise.detectors import USUAL, open_detector
from mien.recognise.media import PHOTO_SUFFIXES
from mien.recognise.pictures import read_picture

#: The largest input of a recipe, in pixels: none looks at more of a face.
LARGEST = 224
#: The list of photos that gave no face, in the folder of faces.
SKIPPED = "skipped.csv"

_WANTED = "give photos of one face each in folders named after expressions, such as happy/1.jpg"

#: What becomes of a photo with several faces.
Several = Literal["skip", "largest"]


@dataclass(frozen=True)
class Skipped:
    """A photo that gave no face: its path below the folder of photos, why, and in a word."""

    file: str
    reason: str
    kind: Literal["no face", "several faces", "no class folder", "unreadable"]


@dataclass(frozen=True)
class Cropped:
    """What came of a folder of photos: how many faces were written, which photos gave none."""

    out: Path
    faces: int
    skipped: list[Skipped]

    def count(self, kind: str) -> int:
        """How many photos were skipped for this."""
        return sum(one.kind == kind for one in self.skipped)


def crop_faces(
    photos: Path,
    out: Path,
    *,
    side: int | None = None,
    several: Several = "skip",
    labels: Expressions | None = None,
    detector: str | Detector = USUAL,
    size: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Cropped:
    """Cut the face out of each photo in class folders, into a new tree of the same shape.

    `train/happy/1.jpg` becomes `train/happy/1.jpg.png`, RGB, lossless, cut by the default
    `CropRule`. Photos with no face or several are skipped, for nobody can say whose expression the
    folder names; so are those that cannot be read. `skipped.csv` lists them. The tree appears
    whole or not at all.

    Args:
        photos: a folder of class folders, optionally below train/, validation/ and test/.
        out: the new folder.
        side: pixels a side of all faces. By default each keeps the resolution it has in its photo,
            224 at most: nothing is made up, and networks of any input find all there is; a little
            softer than in recognition, which samples once. With the size of a network's input,
            training sees to the pixel what recognition will; to a gray level, where a gray network
            is shown photos in colour.
        several: `largest` takes the largest face of photos with several.
        labels: the label set of the folders, where it is not the usual seven.
        detector, size: how faces are found, as a `Recognizer` takes them.
        progress: told of each photo done: how many, of how many.

    Raises:
        InputError: for folders that are no expressions, an `out` that exists, and where no photo
            gives a face.
    """
    photos, out = Path(photos), Path(out)
    _refuse_misfits(photos, out, side, several)
    tree = FolderTree(photos)
    found = [entry for entry in tree.entries if entry.name.lower().endswith(PHOTO_SUFFIXES)]
    ClassFolders(found, Request(labels))  # refuses now what training would refuse later
    cutter = _Cutter(open_detector(detector, size=size), side, several)
    skipped: list[Skipped] = []
    with atomic_folder(out) as folder:
        for done, entry in enumerate(found, 1):
            face = cutter(entry, photos / entry.key)
            if isinstance(face, Skipped):
                skipped.append(face)
            else:
                # All of the photo's name stays, so that 1.jpg and 1.png are two.
                file = folder / f"{entry.name}.png"
                file = file.with_name(fitting_name(file.name))
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(face).save(file)
            progress(done, len(found))
        cropped = Cropped(out, len(found) - len(skipped), skipped)
        if not cropped.faces:
            raise InputError(f"{photos}: nothing to crop ({_summary(cropped)}); {_WANTED}")
        _write_list(folder / SKIPPED, skipped)
    return cropped


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
    """A photo -> its face, or why there is none."""

    def __init__(self, detector: Detector, side: int | None, several: Several) -> None:
        self._detector = detector
        self._side = side
        self._several = several
        self._rule = CropRule()

    def __call__(self, entry: Entry, path: Path) -> NDArray[np.uint8] | Skipped:
        """uint8 RGB (side, side, 3)."""
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
    kinds = dict.fromkeys(one.kind for one in cropped.skipped)
    return ", ".join(f"{kind}: {cropped.count(kind):,}" for kind in kinds) or "no photos"


def _write_list(path: Path, skipped: list[Skipped]) -> None:
    # Names that are not UTF-8 are written as the bytes that they are.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "reason"])
        rows.writerows([spreadsheet_name(one.file), one.reason] for one in skipped)
