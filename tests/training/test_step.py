"""A step in float16: gradients are scaled, one that overflows is not taken, clipping sees them as they are."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD

from mien.recipe import Optimizer, Schedule
from mien.training import ModelSpec, Watcher, train
from mien.training.muon import Muon
from mien.training.optim import LearningRate
from mien.training.step import Step

from .test_loop import identical, weights


@pytest.fixture(autouse=True)
def look_at_every_step(monkeypatch):
    monkeypatch.setattr("mien.training.loop._LOOK_EVERY", 0.0)


@pytest.fixture
def narrow(recipe):
    """For a CPU is slow in float16."""
    return replace(recipe, precision="auto", model=ModelSpec("basic-cnn", {"width": 0.125}))


def made(optimizer=SGD, dtype=torch.float16, clip_norm=None, lr=1.0):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    step = Step(
        network,
        network,
        functional.cross_entropy,
        optimizer(network.parameters(), lr=lr),
        dtype,
        clip_norm,
    )
    return network, step


FACES, LABELS = torch.linspace(-1, 1, 64).view(4, 1, 4, 4), torch.tensor([0, 1, 2, 1])


def moved(network, step, faces=FACES):
    before = [parameter.detach().clone() for parameter in network.parameters()]
    step(faces, LABELS)
    return [
        parameter.detach() - value
        for parameter, value in zip(network.parameters(), before, strict=True)
    ]


def test_it_moves_as_float32_does():
    exact = moved(*made(dtype=torch.float32))
    for one, other in zip(moved(*made()), exact, strict=True):
        assert torch.allclose(one, other, atol=2e-3)


def test_gradients_too_small_for_float16_count():
    faint = 1e-4 * FACES
    small, exact = moved(*made(), faint)[0], moved(*made(dtype=torch.float32), faint)[0]
    assert exact.abs().max() < 1e-4
    assert torch.allclose(small, exact, rtol=0.02, atol=1e-7)


def test_clipping_sees_the_gradients_unscaled():
    norm = torch.cat([one.flatten() for one in moved(*made(clip_norm=0.01))]).norm().item()
    assert norm == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("optimizer", [SGD, Muon])
def test_a_step_that_overflows_is_not_taken_and_the_scale_falls(optimizer):
    network, step = made(optimizer)
    rate = LearningRate(Schedule(name="cosine"), step._optimizer, 4)
    scale = step.state_dict()["scale"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one in moved(network, step, faces=1e6 * FACES):
            assert not one.any()
        rate.after_step()
    assert step.state_dict()["scale"] == scale / 2
    assert all(one.any() for one in moved(network, step))


def test_the_scale_is_resumed_and_a_run_of_another_precision_begins_its_own():
    _, step = made()
    step.load_state_dict({**step.state_dict(), "scale": 512.0})
    step(FACES, LABELS)
    assert step.state_dict()["scale"] == 512.0
    _, plain = made(dtype=torch.float32)
    assert plain.state_dict() == {}
    step.load_state_dict({})
    plain.load_state_dict(step.state_dict())


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_training_in_float16_goes_on_exactly_where_it_was(
    narrow, splits, tmp_path, monkeypatch, name
):
    monkeypatch.setattr("mien.training.parts.autocast_type", lambda *_: torch.float16)
    half = replace(narrow, optimizer=Optimizer(name=name, lr=3e-3), ema=0.9, clip_norm=0.5)

    def go(where, **options):
        return train(
            half, splits.train, splits.validation, tmp_path / where, device="cpu", **options
        )

    whole = go("whole")
    with pytest.raises(KeyboardInterrupt):
        go("halves", checkpoint_every="4", watchers=[BreakAt(5)])
    resumed = go("halves", resume=True)
    for which in ("best", "last"):
        assert identical(weights(whole, which), weights(resumed, which))
    assert whole.environment()["precision"] == "float16"


class BreakAt(Watcher):
    def __init__(self, step):
        self.step = step

    def stepped(self, moment):
        if moment.step == self.step:
            raise KeyboardInterrupt


class Notes(Watcher):
    def __init__(self):
        self.sentences = []

    def noted(self, sentence):
        self.sentences.append(sentence)


def test_a_run_that_goes_on_in_another_precision_says_so(narrow, splits, tmp_path, monkeypatch):
    notes = Notes()

    def go(dtype, **options):
        monkeypatch.setattr("mien.training.parts.autocast_type", lambda *_: dtype)
        return train(
            narrow, splits.train, splits.validation, tmp_path / "run", device="cpu", **options
        )

    with pytest.raises(KeyboardInterrupt):
        go(torch.float32, checkpoint_every="3", watchers=[BreakAt(4)])
    go(torch.float16, resume=True, watchers=[notes])
    assert "it began on cpu in float32 and continues on cpu in float16" in " ".join(notes.sentences)
