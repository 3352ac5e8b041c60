"""Archives and tables of a few kilobytes that once took gigabytes."""

from __future__ import annotations

import gzip
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from mien.data import parquet
from mien.data.reading import Request
from mien.data.sources import open_source
from mien.errors import InputError

MB = 1 << 20


def link_of(path: Path, megabytes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        link = zipfile.ZipInfo("happy/link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        link.compress_type = zipfile.ZIP_DEFLATED
        with made.open(link, "w") as file:
            for _ in range(megabytes):
                file.write(bytes(MB))
        made.writestr("happy/1.png", b"x")
    return path


def name_of(path: Path, megabytes: int, kind: bytes) -> Path:
    with gzip.open(path, "wb") as made:
        head = tarfile.TarInfo("././@LongLink")
        head.type, head.size = kind, megabytes * MB
        made.write(head.tobuf(tarfile.GNU_FORMAT))
        for _ in range(megabytes):
            made.write(bytes(MB))
        made.write(tarfile.TarInfo("happy/1.png").tobuf() + bytes(1024))
    return path


def test_a_link_of_megabytes_is_refused_unread(tmp_path, monkeypatch):
    path = link_of(tmp_path / "sym.zip", 4)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(InputError, match="longer than any name"), open_source(path, Request()):
        pass


@pytest.mark.parametrize(
    "kind",
    [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE],
)
def test_a_name_of_megabytes_is_refused_unread(tmp_path, kind):
    path = name_of(tmp_path / "long.tar.gz", 4, kind)
    with pytest.raises(InputError, match="longer than any name"), open_source(path, Request()):
        pass


def test_long_names_that_systems_allow_are_read(tmp_path):
    path = tmp_path / "long.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as made:
        made.addfile(tarfile.TarInfo("happy/" + "a" * 240 + "é.png"))
    with open_source(path, Request()) as (_, source):
        (sample,) = source.samples()
    assert "a" * 240 in str(sample)


@pytest.mark.parametrize("column", ["image", "label", "note"])
def test_a_column_that_unpacks_to_megabytes_is_refused_unread(column, tmp_path, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    bomb = bytes(8 * MB) if column == "image" else "a" * 8 * MB
    columns = {"image": [b"x"], "label": ["happy"], "note": ["b"], column: [bomb]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", compression="zstd")
    monkeypatch.setattr(parquet, "_SMALL", MB)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("read"))
    with (
        pytest.raises(InputError, match=f"its column {column} unpacks .* which no pictures do"),
        open_source(tmp_path / "a.parquet", Request()),
    ):
        pass


def test_of_values_that_many_rows_repeat_few_are_in_memory(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def rows_at_once(size):
        table = pa.table({"image": [random.Random(1).randbytes(size)] * 50})
        pq.write_table(table, tmp_path / "a.parquet", dictionary_pagesize_limit=1 << 30)
        with pq.ParquetFile(tmp_path / "a.parquet") as opened:
            return parquet._rows_at_once(opened)

    assert rows_at_once(1000) == 16
    assert 1 < rows_at_once(4 * MB) < 5
    assert rows_at_once(40 * MB) == 1
