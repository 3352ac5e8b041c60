"""Broken pictures: whatever happens to their bytes, an answer or one sentence, soon, in little memory."""

from __future__ import annotations

import time

import numpy as np
import pytest
from broken_pictures import mutated, seeds

from mien.errors import InputError
from mien.recognise.pictures import read_picture
from mien.recognise.yunet import YuNet

MAX_PIXELS = 500_000
SECONDS = 20


def fuzz(cases: int, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    kinds = list(seeds().values())
    detect = YuNet()
    counts = {"read": 0, "refused": 0}
    for number in range(cases):
        data = mutated(kinds[number % len(kinds)], rng)
        started = time.process_time()
        try:
            picture = read_picture(data, max_pixels=MAX_PIXELS)
        except InputError as error:
            counts["refused"] += "\n" not in str(error)
        else:
            assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
            assert 0 < picture.shape[0] * picture.shape[1] <= MAX_PIXELS, (seed, number)
            counts["read"] += 1
            if number % 20 == 0:
                detect(picture)
        assert time.process_time() - started < SECONDS, (seed, number)
    assert sum(counts.values()) == cases  # each refusal was one sentence
    return counts


def test_the_seeds_are_whole() -> None:
    for name, data in seeds().items():
        turned = name in ("jpeg", "png", "webp", "tiff")
        assert read_picture(data).shape == ((96, 112, 3) if turned else (112, 96, 3)), name


def test_hundreds_of_broken_pictures_are_read_or_refused() -> None:
    counts = fuzz(600, seed=1)

    assert min(counts.values()) > 100  # both ways are taken


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_ten_thousand_broken_pictures_are_read_or_refused(seed: int) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert min(fuzz(1000, seed).values()) > 100

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # KB on Linux
