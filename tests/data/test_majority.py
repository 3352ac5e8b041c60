"""FER-2013 under FER+'s majority labels: what is written is read as the same faces, labelled otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien import cli
from mien.data import FaceStore, Votes, load
from mien.data.build import digest
from mien.data.ferplus import CHOICES, EIGHT
from mien.data.majority import write_majority
from mien.errors import InputError
from mien.expressions import SEVEN

N = 40


@pytest.fixture
def store():
    pixels = np.random.default_rng(0).integers(0, 256, (N, 1, 48, 48), dtype=np.uint8)
    digests = np.frombuffer(b"".join(map(digest, pixels)), np.uint64).reshape(-1, 2)
    return FaceStore(
        pixels=pixels,
        labels=np.arange(N) % 7,
        splits=np.repeat([0, 1, 2], [20, 10, 10]).astype(np.uint8),
        rows=np.arange(100, 100 + N).astype(str),
        digests=digests,
        expressions=SEVEN,
        fingerprint="f" * 64,
        source="made up",
    )


def votes_of(names):
    """Nine of ten annotators name it."""
    table = np.zeros((len(names), len(CHOICES)), np.uint8)
    table[np.arange(len(names)), [CHOICES.index(name) for name in names]] = 9
    table[:, -2] += 1
    return Votes(
        votes=table,
        rows=np.arange(100, 100 + len(names)),
        splits=np.repeat([0, 1, 2], [20, 10, 10]).astype(np.uint8),
        has_face=np.ones(len(names), np.bool_),
        source="votes",
    )


def test_the_table_has_the_faces_and_what_most_annotators_say(store, tmp_path):
    names = [SEVEN[i % 7] for i in range(N)]
    names[3], names[25], names[7], names[8], names[39] = (
        "contempt", "contempt", "unknown", "no face", "sad",
    )  # fmt: skip
    written = write_majority(store, votes_of(names), tmp_path / "ferplus.parquet")
    assert (written.unknown, written.no_face) == (1, 1)
    assert written.counts["train"]["contempt"] == written.counts["validation"]["contempt"] == 1
    assert sum(written.counts["train"].values()) == 18
    read = load(tmp_path / "ferplus.parquet", labels=EIGHT)
    kept = np.delete(np.arange(N), [7, 8])
    order = np.argsort(read.rows.astype(int))
    assert read.rows[order].tolist() == store.rows[kept].tolist()
    assert np.array_equal(read.pixels[order], store.pixels[kept])
    assert np.array_equal(read.splits[order], store.splits[kept])
    assert [EIGHT[label] for label in read.labels[order]] == [names[face] for face in kept]


def test_what_cannot_be_written_is_refused(store, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.parquet"):
        write_majority(store, votes_of([SEVEN[i % 7] for i in range(N)]), tmp_path / "a.csv")
    with pytest.raises(InputError, match="no face of made up has a majority"):
        write_majority(store, votes_of(["unknown"] * N), tmp_path / "a.parquet")
    assert not list(tmp_path.iterdir())
    source = tmp_path / "faces.parquet"
    source.write_bytes(b"the only copy")
    votes = votes_of([SEVEN[i % 7] for i in range(N)])
    with pytest.raises(InputError, match="it would replace what is read"):
        write_majority(replace(store, source=str(source)), votes, source)
    assert source.read_bytes() == b"the only copy"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--votes", "v.csv"], "needs --out"),
        (["--out", "a"], "add --crop faces or --votes"),
        (["--votes", "v.csv", "--crop", "faces"], "give one of them"),
    ],
)
def test_options_that_do_not_go_together(options, words, capsys):
    assert cli.run(["data", "prepare", "synthetic:10", *options]) == 2
    assert words in capsys.readouterr().err
