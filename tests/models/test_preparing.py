"""uint8 faces to network inputs, against PIL and plain arithmetic."""

import numpy as np
import torch
from PIL import Image

from mien.input_spec import InputSpec
from mien.models.preparing import prepare, resize, to_unit


def test_gray_is_scaled_and_normalised():
    faces = torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8)
    prepared = prepare(faces, InputSpec(height=2, width=2))
    torch.testing.assert_close(prepared, torch.tensor([[[[-1.0, 1.0], [-0.6, -0.2]]]]))


def test_gray_is_repeated_for_three_channels_each_with_its_own_scale():
    faces = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    spec = InputSpec(3, 2, 2, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    assert prepare(faces, spec)[0, :, 0, 0].tolist() == [1.0, 3.0, 1.0]


def test_rgb_becomes_the_luma_that_pil_computes():
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    luma = np.asarray(Image.fromarray(rgb).convert("L"), dtype=np.float32) / 255
    ours = to_unit(torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None], 1)[0, 0].numpy()
    assert np.abs(ours - luma).max() <= 1 / 255


def test_resizing_agrees_with_pil():
    image = np.random.default_rng(1).random((96, 80), dtype=np.float32)
    theirs = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR))
    ours = resize(torch.from_numpy(image)[None, None], 48, 48)[0, 0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


STANDARDISED = InputSpec(height=12, width=12, mean=(0.0,), std=(1.0,), standardise=True)


def test_a_standardised_face_has_mean_0_and_deviation_1_whatever_its_light():
    face = np.random.default_rng(2).integers(0, 256, (1, 1, 12, 12), dtype=np.uint8)
    dark = (face * 0.25 + 10).astype(np.uint8)
    both = prepare(torch.from_numpy(np.concatenate([face, dark])), STANDARDISED)
    expected = (face[0, 0] - face.mean()) / face.std()
    np.testing.assert_allclose(both[0, 0].numpy(), expected, atol=2e-3)
    assert (both[0] - both[1]).abs().max() < 0.05  # rounding to whole levels


def test_a_flat_face_stays_flat_and_noise_is_not_blown_up():
    flat = np.full((2, 1, 12, 12), 100, np.uint8)
    flat[1, 0, ::2] += 1
    prepared = prepare(torch.from_numpy(flat), STANDARDISED)
    assert prepared[0].abs().max() < 1e-4
    assert prepared[1].abs().max() < 0.25


def test_colour_is_standardised_as_a_whole():
    rgb = np.random.default_rng(3).integers(0, 256, (1, 3, 12, 12), dtype=np.uint8)
    spec = InputSpec(3, 12, 12, mean=(0.0,), std=(1.0,), standardise=True)
    expected = (rgb - rgb.mean()) / rgb.std()
    np.testing.assert_allclose(prepare(torch.from_numpy(rgb), spec).numpy(), expected, atol=2e-3)
