"""Archives of a few kilobytes that once took gigabytes."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

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
