"""Progressive resizing: small faces first, the input's size from half of the epochs on, and for whatever judges."""

from dataclasses import replace

import pytest
import torch

from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.recipe import override
from mien.training import ModelSpec, Watcher, train
from mien.training.growing import spec_in

from .test_loop import identical, weights

NETWORK = ModelSpec("mien-s", {"width": 0.125, "depth": 1})


@pytest.fixture
def growing(recipe):
    return replace(recipe, model=NETWORK, epochs=4, batch_size=100, progressive_size=36)


def test_faces_grow_over_the_first_half(growing):
    sides = [spec_in(replace(growing, epochs=12), epoch).height for epoch in range(1, 13)]
    assert sides == [36, 36, 40, 40, 44, 44, *[48] * 6]
    assert spec_in(replace(growing, progressive_size=None), 1) == growing.input


def test_the_other_side_grows_in_step(growing):
    wide = replace(growing, input=InputSpec(height=48, width=96))
    assert spec_in(wide, 1).shape == (1, 36, 72)


def test_it_is_off_where_a_recipe_does_not_ask(recipe):
    assert recipe.progressive_size is None


def test_training_sees_small_faces_and_validation_whole_ones(
    growing, splits, tmp_path, monkeypatch
):
    seen = []
    plain = torch.nn.Conv2d.forward

    def forward(self, inputs_BCHW):
        if self.in_channels == 1:
            seen.append((inputs_BCHW.shape[-1], inputs_BCHW.shape[0]))
        return plain(self, inputs_BCHW)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    train(growing, splits.train, splits.validation, tmp_path / "run", device="cpu")
    steps = [side for side, faces in seen if faces == 100]
    assert steps == [36, 36, 40, 40, 48, 48, 48, 48]
    assert {side for side, faces in seen if faces == 40} == {48}


def test_what_is_stopped_goes_on_at_the_same_size(growing, splits, tmp_path):
    class Stopper(Watcher):
        def epoch_ended(self, row, confusion_KK, *, best):
            if row["epoch"] == 1:
                raise InterruptedError

    def go(name, **options):
        return train(
            growing, splits.train, splits.validation, tmp_path / name, device="cpu", **options
        )

    with pytest.raises(InterruptedError):
        go("halves", watchers=[Stopper()])
    assert identical(weights(go("halves", resume=True), "last"), weights(go("whole"), "last"))


def test_a_network_of_one_size_is_refused(recipe, splits, tmp_path):
    fixed = replace(recipe, progressive_size=36)
    with pytest.raises(
        InputError, match="progressive_size=36: basic-cnn takes only faces of 48x48"
    ):
        train(fixed, splits.train, splits.validation, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_it_is_smaller_than_the_input(recipe):
    with pytest.raises(InputError, match="so it has to be smaller"):
        override(recipe, ["progressive_size=48"])
