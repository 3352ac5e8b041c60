"""What is kept lies between the weights that a training began with and those that it came to."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from mien.errors import InputError
from mien.training import ModelSpec, override, train
from mien.training.averaging import blended

from .test_loop import identical, weights
from .test_resume import StopAt


def network(seed):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    made(torch.randn(4, 1, 8, 8))
    return made


def test_it_lies_on_the_line_between_them():
    start, end = network(0), network(1)
    before = {name: value.clone() for name, value in end.state_dict().items()}
    between = blended(end, start.state_dict(), 0.25).state_dict()
    for name in ("0.weight", "1.running_var"):
        expected = 0.25 * start.state_dict()[name] + 0.75 * end.state_dict()[name]
        torch.testing.assert_close(between[name], expected)
    assert between["1.num_batches_tracked"] == 1
    assert identical(end.state_dict(), before)


@pytest.fixture
def go(recipe, splits, tmp_path):
    """One epoch, so that there is but one that can be kept."""
    recipe = replace(
        recipe, model=ModelSpec("four-block-cnn", {"width": 0.25}), batch_size=40, epochs=1
    )

    def go(name, **options):
        changes = {key: options.pop(key) for key in ("init", "init_share") if key in options}
        return train(
            replace(recipe, **changes),
            splits.train,
            splits.validation,
            tmp_path / name,
            device="cpu",
            **options,
        )

    return go


def test_what_is_kept_is_between_and_training_goes_its_way(go):
    first = go("first")
    init = str(first.path)
    plain, kept = go("plain", init=init), go("kept", init=init, init_share=0.4)
    assert identical(weights(plain, "last"), weights(kept, "last"))
    start = weights(first)
    for name, value in weights(plain).items():
        if value.is_floating_point():
            expected = 0.4 * start[name] + 0.6 * value
            torch.testing.assert_close(weights(kept)[name], expected)
    assert [row["validation_loss"] for row in plain.history()] != [
        row["validation_loss"] for row in kept.history()
    ]


def test_a_resumed_training_needs_its_beginning_no_more(go, monkeypatch):
    monkeypatch.setattr("mien.training.loop._LOOK_EVERY", 0.0)  # at every step
    first = go("first")
    options = {"init": str(first.path), "init_share": 0.4}
    whole = go("whole", **options)
    with pytest.raises(Exception, match="after step 3 of"):
        go("stopped", watchers=[StopAt(3)], **options)
    shutil.rmtree(first.path)
    resumed = go("stopped", resume=True, **options)
    assert identical(weights(whole), weights(resumed))


def test_a_share_of_random_weights_is_refused(recipe):
    with pytest.raises(InputError, match="give an init"):
        override(recipe, ["init_share=0.5"])
