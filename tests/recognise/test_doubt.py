"""How a crop shows that it is too blurred or too noisy to tell by."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.recognise.doubt import detail

RNG = np.random.default_rng(0)
FACE = RNG.integers(60, 200, (1, 48, 40)).astype(np.uint8)


def test_detail_is_what_opencv_s_filters_give():
    kernels = [np.zeros((5, 5), np.float32) for _ in range(4)]
    for kernel, (first, last) in zip(
        kernels,
        [((2, 0), (2, 4)), ((0, 2), (4, 2)), ((0, 0), (4, 4)), ((0, 4), (4, 0))],
        strict=True,
    ):
        kernel[first], kernel[last], kernel[2, 2] = 1, 1, -2
    for crop in (FACE, RNG.integers(0, 256, (3, 20, 33)).astype(np.uint8)):
        gray = crop.mean(axis=0, dtype=np.float32)
        inner = [cv2.filter2D(gray, -1, kernel)[2:-2, 2:-2] for kernel in kernels]
        expected = min(np.square(one).mean() for one in inner) / gray.var()
        assert detail(crop) == pytest.approx(expected, rel=1e-5)


def test_light_and_contrast_leave_it_as_it_is():
    darker = np.rint(FACE * 0.5).astype(np.uint8)
    flatter = np.rint(100 + (FACE.astype(float) - 100) * 0.6).astype(np.uint8)
    assert detail(darker) == pytest.approx(detail(FACE), rel=0.02)
    assert detail(flatter) == pytest.approx(detail(FACE), rel=0.02)


def test_blur_in_one_direction_shows_as_blur_in_all_does():
    both = cv2.GaussianBlur(FACE[0], (0, 0), 2)[None]
    for size in ((9, 1), (1, 9)):
        assert detail(cv2.blur(FACE[0], size)[None]) < detail(FACE) / 5
    assert detail(both) < detail(FACE) / 5


def test_noise_makes_it_larger():
    smooth = cv2.GaussianBlur(FACE[0], (0, 0), 3)[None]
    noise = RNG.normal(0, 12, smooth.shape)
    assert detail((smooth + noise).clip(0, 255).astype(np.uint8)) > 3 * detail(smooth)


@pytest.mark.parametrize("shape", [(1, 4, 48), (1, 1, 1), (3, 48, 48)])
def test_it_is_nothing_of_one_gray_level_and_of_a_few_pixels(shape):
    crop = (
        np.full(shape, 90, np.uint8)
        if shape[1] > 4
        else RNG.integers(0, 256, shape).astype(np.uint8)
    )
    assert detail(crop) == 0
