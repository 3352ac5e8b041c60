"""Lists of faces to leave out: written, shortened by hand, read; lists of other data are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data import FaceStore, load
from mien.data.exclusions import read_exclusions, write_exclusions
from mien.errors import InputError


@pytest.fixture(scope="module")
def store() -> FaceStore:
    return load("synthetic:35")


@pytest.fixture
def written(tmp_path: Path, store: FaceStore) -> Path:
    path = tmp_path / "exclusions.csv"
    reasons = [
        (np.array([3, 8]), ["copies: of 4", 'a "quoted", odd one']),
        (np.array([8]), ["blank"]),
    ]
    write_exclusions(path, store, reasons)
    return path


def test_what_is_listed_is_left_out_once(written: Path, store: FaceStore) -> None:
    faces = store.faces(np.array([9, 8, 7, 3, 2]))
    assert read_exclusions(written).applied(faces).indices.tolist() == [9, 7, 2]


def test_a_line_that_is_deleted_is_no_longer_left_out(written: Path, store: FaceStore) -> None:
    lines = written.read_text().splitlines(keepends=True)
    written.write_text("".join(lines[:2] + lines[3:]))
    assert read_exclusions(written).applied(store.faces(np.arange(10))).indices.tolist() == [
        0, 1, 2, 3, 4, 5, 6, 7, 9,
    ]  # fmt: skip


def test_a_list_that_a_spreadsheet_saved_is_read(written: Path, store: FaceStore) -> None:
    first, *others = written.read_text().splitlines()
    saved = "\r\n".join([f'"{first}",,', *others]).replace(
        '"# mien exclusions, data', '"# mien exclusions, data'
    )
    written.write_text("\ufeff" + saved, encoding="utf-8", newline="")
    assert read_exclusions(written).rows.keys() == {store.rows[3], store.rows[8]}


def test_a_list_of_other_data_is_refused(written: Path, store: FaceStore) -> None:
    other = replace(store, fingerprint="0" * 64)
    with pytest.raises(
        InputError, match=r"other data \(fingerprint .* has 000000000000\).*mien data audit"
    ):
        read_exclusions(written).applied(other.faces(np.arange(3)))
    renamed = replace(store, rows=np.array([f"face {n}" for n in range(len(store))]))
    with pytest.raises(InputError, match="2 of its rows are not in synthetic:35"):
        read_exclusions(written).applied(renamed.faces(np.arange(3)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"row,reason\n1,copy\n",
        b"# mien exclusions, data fingerprint abc\nname\nx\n",
        b"\xff\xfe\x00\x81",
    ],
    ids=["empty", "no head", "no rows", "not text"],
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "exclusions.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"exclusions\.csv: no"):
        read_exclusions(path)
    with pytest.raises(InputError, match="no such file"):
        read_exclusions(tmp_path / "missing.csv")


def test_names_that_a_spreadsheet_would_compute_are_written_as_paths(
    tmp_path: Path, store: FaceStore
) -> None:
    rows = store.rows.astype("<U20")
    rows[[3, 4]] = "=1+1.png", "-2.png"
    odd = replace(store, rows=rows)
    path = tmp_path / "exclusions.csv"
    write_exclusions(path, odd, [(np.array([3, 4]), ["blank", "blank"])])
    assert [line.partition(",")[0] for line in path.read_text().splitlines()[2:]] == [
        "./=1+1.png",
        "./-2.png",
    ]
    kept = read_exclusions(path).applied(odd.faces(np.arange(6)))
    assert kept.indices.tolist() == [0, 1, 2, 5]


def test_names_that_are_no_utf_8_keep_their_bytes(tmp_path: Path, store: FaceStore) -> None:
    rows = store.rows.astype("<U20")
    rows[3] = b"gl\xfccklich.png".decode(errors="surrogateescape")
    odd = replace(store, rows=rows)
    path = tmp_path / "exclusions.csv"
    write_exclusions(path, odd, [(np.array([3]), ["blank"])])
    assert b"\ngl\xfccklich.png," in path.read_bytes()
    assert 3 not in read_exclusions(path).applied(odd.faces(np.arange(6))).indices


def test_a_list_of_the_same_faces_in_another_order_is_refused(
    written: Path, store: FaceStore
) -> None:
    order = np.roll(np.arange(len(store)), 1)
    moved = replace(
        store,
        pixels=store.pixels[order],
        labels=store.labels[order],
        splits=store.splits[order],
        digests=store.digests[order],
    )
    with pytest.raises(InputError, match=r"row .* is another face .* in another order"):
        read_exclusions(written).applied(moved.faces(np.arange(9)))


def test_a_list_of_an_earlier_version_is_taken_by_its_rows(written: Path, store: FaceStore) -> None:
    lines = [line.rpartition(",")[0] for line in written.read_text().splitlines()[1:]]
    head = written.read_text().splitlines()[0]
    written.write_text("\n".join([head, *lines]) + "\n")
    assert read_exclusions(written).applied(store.faces(np.arange(10))).indices.tolist() == [
        0, 1, 2, 4, 5, 6, 7, 9,
    ]  # fmt: skip
