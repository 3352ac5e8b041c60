"""The sheet of training faces in a run folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from mien import api
from mien.data import load
from mien.data.splits import SplitRule, split
from mien.input_spec import InputSpec
from mien.recipe import Augment, ModelSpec, Recipe
from mien.training.sheet import augmented_sheet

RECIPE = Recipe(
    name="sheet",
    model=ModelSpec("four-block-cnn", {"width": 0.25}),
    augment=Augment(flip=1.0),
    epochs=1,
)


def faces():
    return split(load("synthetic:35"), SplitRule()).train


def test_each_row_has_a_face_and_views_of_it():
    shown = faces()
    state = torch.random.get_rng_state()
    sheet = augmented_sheet(shown, RECIPE)
    assert torch.equal(torch.random.get_rng_state(), state)  # training draws as it would without
    assert sheet.dtype == np.uint8
    plain, first, second = (sheet[:48, start : start + 48, 0] for start in (0, 51, 102))
    assert np.abs(plain.astype(int) - shown.store.pixels[shown.indices[0], 0]).max() <= 1
    assert np.array_equal(first, plain[:, ::-1])
    assert np.array_equal(second, first)
    turned = augmented_sheet(shown, replace(RECIPE, augment=Augment(rotation=30)))
    assert not np.array_equal(turned[:48, 51:99], turned[:48, 102:150])


def test_few_faces_and_networks_in_colour_have_one_too():
    shown = faces()
    few = shown.store.faces(shown.indices[:2])
    spec = InputSpec(channels=3, height=64, width=64)
    assert augmented_sheet(few, replace(RECIPE, input=spec)).shape == (2 * 67 - 3, 10 * 67 - 3, 3)


def test_a_run_folder_has_it_and_silence_has_none(tmp_path):
    run = api.train(RECIPE, "synthetic:35", tmp_path / "run", device="cpu")
    assert (run.path / "training.png").is_file()
    with Image.open(run.path / "training-faces.png") as sheet:
        assert sheet.size == (10 * 51 - 3, 6 * 51 - 3)
    silent = api.train(RECIPE, "synthetic:35", tmp_path / "silent", device="cpu", watchers=[])
    assert not list(silent.path.glob("*.png"))
