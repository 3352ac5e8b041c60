"""Lists of faces to leave out: a CSV written by `mien data audit`, edited by people if needed, read by `--exclude`.

    # mien exclusions, data fingerprint d2857b914b76...
    row,split,label,reason,face
    12,train,fear,near copy of 28710,5f0c...

The fingerprint and the columns `row` and `face` (the hash of its pixels) are read; a list without `face` is taken by
its rows alone. A row may be listed several times, each with its own reason.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.reading import reading
from mien.data.store import SPLITS, FaceStore, FaceView
from mien.errors import InputError, one_line
from mien.files import atomic_file, spreadsheet_name

_HEAD = "# mien exclusions, data fingerprint "


@dataclass(frozen=True)
class Exclusions:
    """Faces of one store to leave out.

    Attributes:
        rows: the faces' names in `FaceStore.rows`, each with the hash of its pixels; "" if it is not known.
        fingerprint: the fingerprint of the store.
        source: the file of the list, for messages.

    >>> from mien.data import load
    >>> store = load("synthetic:10")
    >>> excluded = Exclusions({"train:1": ""}, store.fingerprint, "a list")
    >>> excluded.applied(store.faces(np.arange(3))).rows.tolist()
    ['train:0', 'train:2']
    """

    rows: Mapping[str, str]
    fingerprint: str
    source: str

    def applied(self, faces: FaceView) -> FaceView:
        """The faces without the listed ones.

        Raises:
            InputError: the list belongs to other data, or names unknown rows.
        """
        store = faces.store
        if store.fingerprint != self.fingerprint:
            raise InputError(
                f"{self.source}: lists faces of other data (fingerprint {self.fingerprint[:12]}, "
                f"{store.source} has {store.fingerprint[:12]}); make a list with `mien data audit`, of pictures of "
                f"mixed sizes at the size that they are read here: --size {store.pixels.shape[-1]}"
            )
        place = {spreadsheet_name(row): number for number, row in enumerate(store.rows.tolist())}
        if unknown := self.rows.keys() - place.keys():
            raise InputError(
                f"{self.source}: {len(unknown):,} of its rows are not in {store.source}, for "
                f"example {min(unknown)!r}; make a list of this layout with `mien data audit`"
            )
        for row, face in self.rows.items():
            if face and face != _hash_of(store, place[row]):
                raise InputError(
                    f"{self.source}: its row {row} is another face in {store.source}, which has the same faces in "
                    "another order; make a list of this layout with `mien data audit`"
                )
        kept = np.array(
            [spreadsheet_name(row) not in self.rows for row in faces.rows.tolist()], np.bool_
        )
        return store.faces(faces.indices[kept])


def read_exclusions(path: str | Path) -> Exclusions:
    """Read a list of exclusions.

    Raises:
        InputError: the file cannot be read, or is not such a list.
    """
    with (
        reading(str(path)),
        Path(path).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
    ):
        try:
            lines = csv.reader(file)
            # Spreadsheets quote the first line, or fill it up with commas.
            head = ",".join(next(lines, [])).rstrip(",").strip('"')
            columns = next(lines, [])
            if not head.startswith(_HEAD) or "row" not in columns:
                raise InputError(
                    f"{path}: not a list of exclusions; make one with `mien data audit`"
                )
            column = columns.index("row")
            face = columns.index("face") if "face" in columns else -1
            rows = {
                spreadsheet_name(line[column]): line[face].strip() if 0 <= face < len(line) else ""
                for line in lines
                if len(line) > column
            }
        except csv.Error as error:
            raise InputError(
                f"{path}: not a table in text ({one_line(error)}); make one with `mien data audit`"
            ) from error
    return Exclusions(rows, head.removeprefix(_HEAD).strip(), str(path))


def write_exclusions(
    path: Path, store: FaceStore, reasons: Iterable[tuple[NDArray[np.int64], Iterable[str]]]
) -> None:
    """Write a list of exclusions.

    Args:
        path: the CSV file.
        store: the store of the faces.
        reasons: pairs of positions, int64 (n,), and n reasons, one for each face.
    """
    text = io.StringIO(newline="")
    text.write(f"{_HEAD}{store.fingerprint}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "split", "label", "reason", "face"])
    for faces, why in reasons:
        for face, reason in zip(faces.tolist(), why, strict=True):
            split, label = SPLITS[store.splits[face]], store.expressions[store.labels[face]]
            name, pixels = spreadsheet_name(store.rows[face]), _hash_of(store, face)
            writer.writerow([name, split, label, reason, pixels])
    with atomic_file(path) as file:  # file names that are not UTF-8, as their original bytes
        file.write(text.getvalue().encode(errors="surrogateescape"))


def _hash_of(store: FaceStore, face: int) -> str:
    digest: bytes = store.digests[face].astype("<u8").tobytes()
    return digest.hex()
