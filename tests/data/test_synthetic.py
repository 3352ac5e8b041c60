"""The synthetic faces: reproducible, balanced, and a task that rewards looking at shapes."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.data.drawing import draw_face
from mien.data.face_parameters import ACTION_UNITS, PROTOTYPES, VARIANTS, random_parameters
from mien.data.synthetic import synthetic_faces
from mien.expressions import SEVEN


def stacked(count: int, seed: int, size: int = 48) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels (count,) and faces (count, size, size)."""
    labels, faces = zip(*synthetic_faces(count, seed, size), strict=True)
    return np.array(labels), np.stack(faces)


def test_same_seed_gives_the_same_faces() -> None:
    (labels, faces), (labels_again, faces_again) = stacked(20, seed=3), stacked(20, seed=3)
    np.testing.assert_array_equal(labels, labels_again)
    np.testing.assert_array_equal(faces, faces_again)


def test_a_face_does_not_depend_on_count() -> None:
    few, many = synthetic_faces(10, seed=3), islice(synthetic_faces(1000, seed=3), 10)
    for (label, face), (label_of_many, face_of_many) in zip(few, many, strict=True):
        assert label == label_of_many
        np.testing.assert_array_equal(face, face_of_many)


def test_seeds_differ() -> None:
    labels, faces = stacked(14, seed=0)
    other_labels, others = stacked(14, seed=1)
    assert not np.array_equal(labels, other_labels)
    assert not any(np.array_equal(face, other) for face in faces for other in others)


@pytest.mark.parametrize("size", [24, 48, 97])
def test_faces_are_gray_squares_of_the_size_asked_for(size: int) -> None:
    for label, face in synthetic_faces(7, seed=0, size=size):
        assert type(label) is int
        assert face.shape == (size, size)
        assert face.dtype == np.uint8


def test_no_faces_are_none() -> None:
    assert list(synthetic_faces(0, seed=0)) == []


def test_every_seven_faces_show_each_expression_once() -> None:
    labels, _ = stacked(70, seed=5)
    for block in labels.reshape(10, 7):
        assert sorted(block) == list(range(len(SEVEN)))
    assert len({tuple(block) for block in labels.reshape(10, 7)}) > 1


def test_faces_are_neither_flat_nor_burnt_out() -> None:
    _, faces = stacked(140, seed=2)
    assert faces.std(axis=(1, 2)).min() > 8
    assert (faces == 255).mean() < 0.05
    assert (faces == 0).mean() < 0.05
    assert len({face.tobytes() for face in faces}) == len(faces)


def test_tables_cover_the_seven_with_known_units() -> None:
    assert set(PROTOTYPES) == set(VARIANTS) == set(SEVEN)
    for expression in SEVEN:
        assert {*PROTOTYPES[expression], *VARIANTS[expression]} <= set(ACTION_UNITS)


@pytest.mark.parametrize("number", ACTION_UNITS)
def test_each_action_unit_can_be_seen(number: int) -> None:
    someone = replace(
        random_parameters("neutral", np.random.default_rng(0)),
        units={},
        skin=180.0,
        beard=0.0,
        hand=None,
        gain=1.0,
        light=(0.0, 0.0),
        blur=0.0,
        noise=0.0,
    )
    relaxed = draw_face(someone).astype(float)
    moved = draw_face(replace(someone, units={number: 1.0})).astype(float)
    assert np.abs(moved - relaxed).max() > 20


@pytest.mark.slow
def test_shapes_tell_more_than_pixels() -> None:
    """A linear model on pixels stays well behind a small convolutional network."""
    torch = pytest.importorskip("torch")
    linear_model = pytest.importorskip("sklearn.linear_model")
    labels, faces = stacked(2800, seed=11)
    train, test = slice(0, 2100), slice(2100, None)
    pixels = faces.astype(np.float32)
    pixels = (pixels - pixels[train].mean(axis=0)) / pixels[train].std(axis=0)

    flat = pixels.reshape(len(pixels), -1)
    linear = linear_model.RidgeClassifier(alpha=3000.0).fit(flat[train], labels[train])
    linear_accuracy = linear.score(flat[test], labels[test])

    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # threads that wait for a busy core make this minutes instead of seconds
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        accuracy = convolutional_accuracy(pixels, labels, train, test)
    torch.set_num_threads(threads)

    assert 0.25 < linear_accuracy < 0.6
    assert linear_accuracy + 0.2 < accuracy < 0.97


def convolutional_accuracy(
    pixels: NDArray[np.float32], labels: NDArray[np.int64], train: slice, test: slice
) -> float:
    """Accuracy on `test` of three convolutional blocks after eight epochs on `train`."""
    import torch
    from torch import nn

    def block(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
        return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]

    network = nn.Sequential(
        *block(1, 16, stride=2),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 36, 7),
    )
    images, targets = torch.from_numpy(pixels)[:, None], torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(8):
        order = torch.randperm(len(targets[train]))
        for start in range(0, len(order), 64):
            batch = order[start : start + 64]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images[train][batch]), targets[train][batch])
            torch.autograd.backward(loss)
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return float((network(images[test]).argmax(1) == targets[test]).float().mean())
