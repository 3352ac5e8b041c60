"""Every mistake in a source is one sentence that says where and what to do, and leaves nothing."""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_layouts import (
    FOLDERS,
    LAYOUTS,
    class_label,
    csv_text,
    encoded,
    image_files,
    made_up,
    write_files,
    write_parquet,
    write_tar,
    write_zip,
)

from mien.data import load, split
from mien.data.splits import needed
from mien.errors import InputError, MienError, MissingExtraError
from mien.recipe import SplitRule

FACES = made_up()
TEXT = csv_text(FACES)
PNG = encoded(FACES[0].pixels)
TEN_THOUSAND = struct.pack(">II", 10_000, 10_000)


def a_csv(text: str) -> Callable[[Path], Path]:
    return lambda root: write_files(root, {"a.csv": text.encode()}) / "a.csv"


def a_line(number: int, line: str) -> Callable[[Path], Path]:
    """A CSV whose line `number` (from 1) is another."""
    lines = TEXT.splitlines()
    lines[number - 1] = line
    return a_csv("\n".join(lines) + "\n")


def a_file(name: str, data: bytes) -> Callable[[Path], Path]:
    return lambda root: write_files(root, {name: data}) / name


def cut(layout: str, share: float) -> Callable[[Path], Path]:
    """A layout's file cut short."""

    def write(root: Path) -> Path:
        path = LAYOUTS[layout](root, FACES)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        return path

    return write


def spoiled(layout: str, share: float) -> Callable[[Path], Path]:
    """A layout's file with some bytes overwritten."""

    def write(root: Path) -> Path:
        path = LAYOUTS[layout](root, FACES)
        data = bytearray(path.read_bytes())
        start = int(share * len(data))
        data[start : start + 40] = bytes(40)
        path.write_bytes(data)
        return path

    return write


def image(data: bytes) -> Callable[[Path], Path]:
    return lambda root: write_files(
        root, image_files(FACES, challenge_names=False) | {"train/happy/bad.png": data}
    )


def link_out_of_tar(root: Path) -> Path:
    path = root / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("train/happy/1.png")
        info.type, info.linkname = tarfile.SYMTYPE, "../../../etc/passwd"
        archive.addfile(info)
    return path


def link_out_of_zip(root: Path) -> Path:
    path = root / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("train/happy/1.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return path


def nested_zips(root: Path) -> Path:
    data = PNG
    for name in ("happy/1.png", *(f"{n}.zip" for n in range(5))):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(name, data)
        data = out.getvalue()
    return write_files(root, {"a.zip": data}) / "a.zip"


def tar_without_end(root: Path) -> Path:
    path = write_tar(root / "a.tar", {"train/happy/1.png": PNG, "train/sad/2.png": PNG})
    path.write_bytes(path.read_bytes()[:1024])  # header and content of the first, no more
    return path


def too_few_class_names(root: Path) -> Path:
    import pyarrow.parquet as pq

    path = write_parquet(root / "a.parquet", FACES)
    table = pq.read_table(path).replace_schema_metadata(class_label(("Angry", "Happy")))
    pq.write_table(table, path)
    return path


def parquet_of(**columns: list[object]) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), root / "a.parquet")
        return root / "a.parquet"

    return write


def huge_png() -> bytes:
    """A PNG whose header says 10,000 x 10,000 pixels."""
    header = b"IHDR" + TEN_THOUSAND + b"\x08\0\0\0\0"
    crc = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc + PNG[33:]


ROW = "0," + " ".join(["7"] * 64) + ",Training"

#: What is wrong -> (what writes it, words that the message has to hold).
BAD: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "missing path": (lambda root: root / "nowhere.csv", ["nowhere.csv", "no such file"]),
    "csv: no pixels column": (a_csv("emotion,Usage\n0,Training\n"), ["a.csv, line 1", "pixels"]),
    "csv: no emotion column": (a_csv("pixels\n1 2 3 4\n"), ["a.csv, line 1", "no column emotion"]),
    "csv: too few pixels": (
        a_line(5, "0,1 2 3,Training"),
        ["a.csv, line 5", "3 pixels instead of 64", "correct or remove"],
    ),
    "csv: too many pixels": (a_line(7, ROW.replace(",T", " 7,T")), ["line 7", "65 pixels"]),
    "csv: no square": (a_line(2, "0,1 2 3,Training"), ["line 2", "3 pixels", "square"]),
    "csv: no pixels": (a_line(3, "0,,Training"), ["line 3", "0 pixels"]),
    "csv: value above 255": (
        a_line(4, ROW.replace("7 7", "7 256", 1)),
        ["line 4", "pixel 2 is '256'", "0..255"],
    ),
    "csv: huge value": (
        a_line(4, ROW.replace("7 7", "99999999999999999999999 7", 1)),
        ["line 4", "pixel 1", "0..255"],
    ),
    "csv: negative value": (a_line(4, ROW.replace("7", "-1", 1)), ["line 4", "pixel 1 is '-1'"]),
    "csv: not an integer": (a_line(4, ROW.replace("7", "1.5", 1)), ["line 4", "pixel 1 is '1.5'"]),
    "csv: not a number": (a_line(4, ROW.replace("7", "x", 1)), ["line 4", "pixel 1 is 'x'"]),
    "csv: label outside": (a_line(6, "7" + ROW[1:]), ["line 6", "label 7", "--labels"]),
    "csv: label negative": (a_line(6, "-1" + ROW[1:]), ["line 6", "label -1"]),
    "csv: label empty": (a_line(6, ROW[1:]), ["line 6", "label is empty"]),
    "csv: label unknown": (a_line(6, "hapy" + ROW[1:]), ["line 6", "did you mean happy?"]),
    "csv: unknown Usage": (a_line(9, ROW + "s"), ["line 9", "'Trainings'", "PublicTest"]),
    "csv: too few columns": (a_line(9, "1"), ["line 9", "1 column instead of 3"]),
    "csv: no rows": (a_csv("emotion,pixels,Usage\n"), ["a.csv", "no rows"]),
    "csv: cut short": (a_csv(TEXT[:-100]), ["a.csv, line 43", "cut short", "again"]),
    "csv: cut in Usage": (a_csv(TEXT[:-4]), ["line 43", "'PrivateT'"]),
    "csv: cut in Usage to another name of a split": (
        a_csv(TEXT + ROW.removesuffix("ing")),
        ["line 44", "cut short", "'Train'"],
    ),
    "csv: endless line": (a_csv("emotion,pixels\n0," + "1 " * 2**23), ["line 2", "too long"]),
    "empty file": (a_file("a.csv", b""), ["a.csv", "empty"]),
    "text of another kind": (a_file("a.csv", b"hello\nworld\n"), ["a.csv, line 1", "no column"]),
    "binary of another kind": (a_file("a.bin", b"\x01\0\x02" * 200), ["a.bin", "not a kind"]),
    "single image": (a_file("a.png", PNG), ["a.png", "single image"]),
    "gz: cut short": (cut("csv.gz", 0.6), ["a.csv.gz", "damaged or cut short", "again"]),
    "gz: damaged": (spoiled("csv.gz", 0.5), ["a.csv.gz", "damaged"]),
    "gz: empty inside": (a_file("a.gz", gzip.compress(b"")), ["a.gz", "empty"]),
    "tar.gz: cut short": (cut("challenge tar.gz", 0.6), ["fer2013.tar.gz", "damaged or cut short"]),
    "tar.gz: damaged": (spoiled("challenge tar.gz", 0.5), ["fer2013.tar.gz", "damaged"]),
    "tar: cut short": (cut("class folders tar", 0.5), ["faces.tar", "damaged or cut short"]),
    "tar: cut between members": (tar_without_end, ["a.tar", "damaged or cut short", "end mark"]),
    "zip: cut short": (cut("class folders zip", 0.8), ["archive.zip", "damaged or cut short"]),
    "zip: damaged": (spoiled("class folders zip", 0.3), ["archive.zip", "damaged"]),
    "parquet: cut short": (cut("parquet", 0.7), ["a.parquet", "damaged or cut short"]),
    "parquet: damaged": (spoiled("parquet", 0.4), ["a.parquet"]),
    "parquet: no image": (parquet_of(label=[1]), ["a.parquet", "no column image", "found: label"]),
    "parquet: no label": (parquet_of(image=[PNG]), ["a.parquet", "no column label"]),
    "parquet: no rows": (parquet_of(image=[], label=[]), ["a.parquet", "no rows"]),
    "parquet: label missing": (parquet_of(image=[PNG], label=[None]), ["row 1", "label is empty"]),
    "parquet: label outside": (
        parquet_of(image=[PNG, PNG], label=[1, 9]),
        ["a.parquet, row 2", "label 9"],
    ),
    "parquet: unknown Usage": (
        parquet_of(image=[PNG], label=[1], usage=["later"]),
        ["row 1", "'later'"],
    ),
    "parquet: image missing": (parquet_of(image=[None], label=[1]), ["row 1", "bytes"]),
    "parquet: image elsewhere": (
        parquet_of(image=[{"bytes": None, "path": "1.png"}], label=[1]),
        ["row 1", "bytes"],
    ),
    "parquet: image damaged": (
        parquet_of(image=[PNG, PNG[:40]], label=[1, 1]),
        ["a.parquet, row 2", "cannot be decoded"],
    ),
    "parquet: label beyond the class names": (too_few_class_names, ["row 3", "label 2", "0..1"]),
    "tar: member above": (
        lambda root: write_tar(root / "a.tar", {"../happy/1.png": PNG}),
        ["a.tar", "'../happy/1.png'", "outside"],
    ),
    "tar: absolute member": (
        lambda root: write_tar(root / "a.tar", {"/tmp/happy/1.png": PNG}),  # noqa: S108
        ["a.tar", "outside"],
    ),
    "tar: link that leaves": (link_out_of_tar, ["a.tar", "'../../../etc/passwd'", "outside"]),
    "zip: member above": (
        lambda root: write_zip(root / "a.zip", {"happy/../../1.png": PNG}),
        ["a.zip", "outside"],
    ),
    "zip: absolute member": (
        lambda root: write_zip(root / "a.zip", {"C:\\happy\\1.png": PNG}),
        ["a.zip", "outside"],
    ),
    "zip: link that leaves": (link_out_of_zip, ["a.zip", "'/etc/passwd'", "outside"]),
    "zips in zips": (nested_zips, ["a.zip", "too many archives"]),
    "unknown class folder": (
        lambda root: write_files(root, {"train/hapyy/1.png": PNG}),
        ["train/hapyy", "did you mean happy?", "--labels"],
    ),
    "image: not one": (image(b"hello"), ["train/happy/bad.png", "of no known format"]),
    "image: empty": (image(b""), ["train/happy/bad.png", "empty"]),
    "image: cut short": (image(PNG[:-30]), ["train/happy/bad.png", "cannot be decoded"]),
    "image: absurdly large": (image(huge_png()), ["bad.png", "absurdly large", "50 megapixels"]),
    "folder with nothing": (
        lambda root: write_files(root, {"README": b"hello"}),
        ["nothing here that mien can read"],
    ),
    "empty folder": (lambda root: root, ["nothing here that mien can read"]),
    "images in no class": (
        lambda root: write_files(root, {"1.png": PNG, "train/2.png": PNG}),
        ["no class folder"],
    ),
    "several sources": (
        lambda root: write_files(root, {"a.csv": TEXT.encode(), "b.csv": TEXT.encode()}),
        ["several sources", "a.csv, b.csv"],
    ),
    "only a damaged archive": (
        lambda root: cut("csv.gz", 0.1)(root).parent,
        ["a.csv.gz", "damaged or cut short"],
    ),
}


def left_in(cache: Path) -> list[str]:
    return [str(path) for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("what", BAD)
def test_a_bad_source_is_one_sentence_and_leaves_nothing(
    what: str, root: Path, cache: Path
) -> None:
    write, words = BAD[what]
    path = write(root)

    with pytest.raises(InputError) as caught:
        load(path)

    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    for word in words:
        assert word in message
    assert left_in(cache) == []
    assert not list(cache.glob("stores/.*"))


@pytest.mark.parametrize("share", [0.03, 0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize(
    "layout",
    ["csv", "csv.gz", "challenge tar.gz", "class folders zip", "class folders tar", "parquet"],
)
def test_a_file_cut_anywhere_is_noticed(layout: str, share: float, root: Path, cache: Path) -> None:
    path = cut(layout, share)(root)

    with pytest.raises(InputError):
        load(path)

    assert left_in(cache) == []


@pytest.mark.parametrize("name", ["synthetic:", "synthetic:x", "synthetic:-5", "synthetic:4"])
def test_a_wrong_number_of_synthetic_faces_is_refused(name: str, cache: Path) -> None:
    with pytest.raises(InputError, match="synthetic:4000"):
        load(name)


def test_an_empty_path_and_an_impossible_size_are_refused(root: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        load("")
    with pytest.raises(InputError, match="0x48"):
        load(root, size=(0, 48))


def test_a_label_set_without_a_folders_class_names_the_folder(root: Path, cache: Path) -> None:
    path = write_files(root, {"train/happy/1.png": PNG, "train/sad/1.png": PNG})

    with pytest.raises(InputError, match=r"train/sad.*--labels"):
        load(path, labels=("happy", "bored"))


def test_a_folder_without_permission_is_named(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, who may read everything
    with pytest.raises(InputError, match="no permission to read"):
        load(root)


def test_a_file_without_permission_is_named(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_csv(TEXT)(root)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.csv: no permission to read"):
        load(path)


@pytest.mark.parametrize(
    ("number", "words"),
    [(28, "disk is full"), (13, "no permission to write"), (30, "no permission to write")],
    ids=["full disk", "no permission", "read-only"],
)
def test_a_cache_that_cannot_be_written_is_named(
    number: int, words: str, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mien.data.build._write_array", refuse)
    with pytest.raises(MienError, match=words) as caught:
        load(a_csv(TEXT)(root))

    assert str(cache) in str(caught.value)
    assert left_in(cache) == []


def test_a_file_where_the_cache_should_be_is_named(root: Path, cache: Path) -> None:
    cache.write_text("in the way")

    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        load(a_csv(TEXT)(root))


def test_without_pyarrow_the_extra_is_named(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = LAYOUTS["parquet"](root, FACES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[data\]'"):
        load(path)


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders there")
def test_a_pipe_is_not_waited_for(root: Path, cache: Path) -> None:
    os.mkfifo(root / "faces.csv")
    with pytest.raises(InputError, match=r"faces\.csv: neither a file nor a folder"):
        load(root / "faces.csv")
    write_files(root, image_files(FACES, challenge_names=False))
    assert len(load(root)) == len(FACES)


@pytest.mark.parametrize("empty", FOLDERS)
def test_an_empty_split_is_said_when_it_is_needed(empty: str, root: Path, cache: Path) -> None:
    some = [face for face in FACES if FOLDERS[face.split] != empty]
    splits = split(load(LAYOUTS["csv"](root, some)), SplitRule())
    faces = {"train": splits.train, "validation": splits.official_validation, "test": splits.test}

    with pytest.raises(InputError, match=f"no {empty} face"):
        needed(faces.pop(empty), empty)
    for name, others in faces.items():
        assert needed(others, name) is others


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "layout",
    ["csv", "csv.gz", "challenge tar.gz", "challenge zip", "class folders zip", "parquet"],
)
def test_random_damage_is_never_more_than_one_sentence(
    layout: str, seed: int, root: Path, cache: Path
) -> None:
    """A few bytes changed anywhere: read, or refused in one sentence."""
    path = LAYOUTS[layout](root, FACES)
    whole = path.read_bytes()
    generator = np.random.default_rng(seed)
    for _ in range(15):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = generator.integers(0, len(whole), generator.choice([1, 3, 20]))
        damaged[places] = generator.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            load(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 (it may also be read well)
