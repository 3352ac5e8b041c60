"""A step that torch compiles is the step; where it cannot, one sentence says so and training goes on."""

import os
import shutil
from dataclasses import replace

import pytest
import torch

from mien.recipe import Optimizer
from mien.training import ModelSpec, Watcher, train

from .test_loop import identical, weights


class Notes(Watcher):
    def __init__(self):
        self.sentences = []

    def noted(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture
def go(recipe, splits, tmp_path):
    def go(name, changes=None, **options):
        notes = Notes()
        run = train(
            replace(recipe, epochs=1, **(changes or {})),
            splits.train,
            splits.validation,
            tmp_path / name,
            device="cpu",
            watchers=[notes],
            **options,
        )
        return run, notes.sentences

    return go


def test_a_compiled_step_is_the_step_and_its_trial_leaves_no_trace(go, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: compiled.append(network) or network)
    run, sentences = go("compiled", compiled=True)
    assert len(compiled) == 1
    assert sentences == []
    assert run.environment()["compiled"]
    plain, _ = go("plain")
    assert not plain.environment()["compiled"]
    assert identical(weights(run, "last"), weights(plain, "last"))


def test_where_torch_cannot_compile_it_one_sentence_says_so(go, monkeypatch):
    def failing(network, **_):
        def fail(_):
            raise RuntimeError("no compiler\nand many lines")

        return fail

    monkeypatch.setattr(torch, "compile", failing)
    run, (sentence,) = go("uncompiled", compiled=True)
    assert "RuntimeError: no compiler); it is trained without" in sentence
    assert not run.environment()["compiled"]
    plain, _ = go("plain")
    assert identical(weights(run, "last"), weights(plain, "last"))


#: Three steps without chance or Adam, which makes steps of one size of gradients that are rounding alone.
THREE_STEPS = {
    "model": ModelSpec("mien-s", {"width": 0.25, "depth": 1}),
    "optimizer": Optimizer(name="sgd", lr=0.05, momentum=0.9),
    "batch_size": 80,
}


@pytest.fixture
def nothing_compiled_before(tmp_path, monkeypatch):
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")))):
        pytest.skip("needs a C++ compiler, for torch to compile with")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_compiled_before")
def test_three_steps_that_torch_compiles_end_where_plain_ones_do(go):
    compiled, sentences = go("compiled", THREE_STEPS, compiled=True)
    assert sentences == []
    assert compiled.environment()["compiled"]
    plain, _ = go("plain", THREE_STEPS)
    begun, _ = go("begun", THREE_STEPS | {"optimizer": Optimizer(name="sgd", lr=1e-12)})
    ours, theirs, start = (weights(run, "last") for run in (compiled, plain, begun))
    moved, apart = 0.0, 0.0
    for name, value in theirs.items():
        if value.is_floating_point():
            moved += (value - start[name]).square().sum().item()
            apart += (value - ours[name]).square().sum().item()
    assert moved > 0
    assert apart < 1e-6 * moved  # a thousandth of the way


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_compiled_before")
def test_without_a_working_compiler_training_goes_on(go, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    run, (sentence,) = go("uncompiled", THREE_STEPS, compiled=True)
    assert sentence.startswith("--compile: torch cannot compile this network here (")
    assert sentence.endswith("it is trained without")
    assert "\n" not in sentence
    assert not run.environment()["compiled"]
    plain, _ = go("plain", THREE_STEPS)
    assert identical(weights(run, "last"), weights(plain, "last"))
