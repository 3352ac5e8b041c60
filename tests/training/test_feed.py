"""Faces reach the device the same, to the last bit, whether they are kept, mapped or read from the file."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data import load, store
from mien.errors import InputError
from mien.training.feed import FaceFeed

CPU = torch.device("cpu")


@pytest.fixture
def from_file(monkeypatch):
    """Every store is large enough to be read from its file."""
    monkeypatch.setattr(store, "MAPPED_BYTES", 0)


@pytest.fixture(scope="module")
def on_disk():
    opened = load("synthetic:40")
    assert isinstance(opened.pixels, np.memmap)
    return opened


def test_a_store_read_from_its_file_gives_what_its_map_holds(on_disk, from_file):
    order = np.random.default_rng(0).integers(0, len(on_disk), 100)
    read = on_disk.read(order)
    assert not isinstance(read, np.memmap)
    assert np.array_equal(read, np.asarray(on_disk.pixels)[order])


def test_a_part_of_a_map_is_not_read_from_the_beginning_of_the_file(on_disk, from_file):
    part = replace(on_disk, pixels=on_disk.pixels[7:])
    assert np.array_equal(part.read(np.array([1, 0])), np.asarray(on_disk.pixels)[[8, 7]])


def test_a_store_that_is_cut_short_or_gone_is_one_sentence(tmp_path, from_file):
    path = tmp_path / "pixels.npy"
    np.save(path, np.zeros((9, 1, 8, 8), np.uint8))
    small = replace(load("synthetic:40"), pixels=np.load(path, mmap_mode="r"))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert small.read(np.array([7])).shape == (1, 1, 8, 8)
    with pytest.raises(InputError, match="cut short"):
        small.read(np.array([8]))
    Path(path).unlink()
    with pytest.raises(InputError, match="no such file"):
        small.read(np.array([0]))


@pytest.mark.parametrize("budget", [None, 0], ids=["resident", "streamed"])
def test_batches_are_batch_after_batch(on_disk, from_file, budget):
    faces = on_disk.faces(np.arange(5, len(on_disk)))
    feed = FaceFeed(faces, CPU, budget=budget)
    positions = torch.split(torch.randperm(len(feed)), 16)
    batches = list(feed.batches(positions))
    assert len(batches) == len(positions)
    for (faces_BCHW, labels_B), positions_B in zip(batches, positions, strict=True):
        assert np.array_equal(faces_BCHW, faces.pixels()[positions_B])
        assert np.array_equal(labels_B, faces.labels[positions_B])


def test_the_next_batch_is_read_while_one_is_used_and_no_further(on_disk):
    read, second = [], threading.Event()

    class Watched(FaceFeed):
        def batch(self, positions_B):
            read.append(int(positions_B[0]))
            if len(read) == 2:
                second.set()
            return super().batch(positions_B)

    feed = Watched(on_disk.faces(np.arange(40)), CPU, budget=0)
    batches = feed.batches(torch.arange(40).split(10))
    next(batches)
    assert second.wait(10)  # nobody asked for it yet
    assert read == [0, 10]
    batches.close()
    assert read == [0, 10]


def test_what_fails_while_reading_ahead_is_raised_where_the_batch_is_used(on_disk):
    feed = FaceFeed(on_disk.faces(np.arange(40)), CPU, budget=0)
    batches = feed.batches([torch.tensor([0]), torch.tensor([99])])
    assert len(next(batches)[1]) == 1
    with pytest.raises(IndexError):
        next(batches)
