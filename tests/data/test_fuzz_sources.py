"""Sources by chance: tables and archives with bytes changed are read or refused in one sentence, and nothing else.

MIEN_EXAMPLES=20000 pytest tests/data/test_fuzz_sources.py
"""

from __future__ import annotations

import gzip
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from make_layouts import csv_text, image_files, made_up, write_parquet, write_tar, write_zip

from mien.data.reading import Request
from mien.data.sources import open_source
from mien.errors import InputError

MANY = settings(
    max_examples=int(os.environ.get("MIEN_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
FACES = made_up(14)


@cache
def whole(kind: str) -> bytes:
    """A small source of each kind."""
    table = csv_text(FACES).encode()
    files = image_files(FACES, challenge_names=False)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        if kind == "csv":
            return table
        if kind == "csv.gz":
            return gzip.compress(table, mtime=0)
        if kind == "zip":
            return write_zip(path, files).read_bytes()
        if kind == "parquet":
            return write_parquet(path, FACES).read_bytes()
        return write_tar(path, files, "w:gz" if kind == "tar.gz" else "w").read_bytes()


def read(name: str, content: bytes) -> int | str:
    """The faces of a source, or its refusal: one sentence about it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            with open_source(path, Request()) as (_, source):
                return sum(1 for _ in source.samples())
        except InputError as error:
            refusal = str(error)
    assert "\n" not in refusal
    assert name in refusal
    return refusal


CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.binary(max_size=3), st.integers(0, 12)), min_size=1, max_size=3
)


def changed(content: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """Bytes put in and taken out at shares of its length."""
    for share, other, cut in changes:
        at = int(share * len(content))
        content = content[:at] + other + content[at + cut :]
    return content


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "zip", "tar", "tar.gz", "parquet"])
@MANY
@given(CHANGES)
@example([(0.0, b"\x1b[2J\n", 0)])
@example([(0.5, b'"', 0)])  # a quotation that never ends
@example([(0.5, b"\x00", 1)])
@example([(1.0, b"", 12), (0.99, b"", 12)])
def test_a_changed_source_is_read_or_refused(kind, changes):
    read(f"faces.{kind}", changed(whole(kind), changes))


@MANY
@given(
    st.text(st.sampled_from('emotion,pixelsUg;|\t"\n\r 0123456789.-+=\x00\x1b\ufeff'), max_size=80)
)
@example("emotion,pixels\n=1+1,0 0 0 0\n")
@example("emotion,pixels\n3," + "9" * 5000 + "\n")
@example("emotion;pixels;Usage\n3;1 2 3 4;\x1b[2J\n")
def test_a_table_of_chance_is_read_or_refused(text):
    read("a.csv", text.encode())


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "zip", "tar", "tar.gz", "parquet"])
def test_the_sources_are_whole(kind):
    assert read(f"faces.{kind}", whole(kind)) == len(FACES)
