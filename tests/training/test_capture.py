"""A step that torch compiles is the step; where it cannot, one sentence says so and training goes on."""

from dataclasses import replace

import pytest
import torch

from mien.training import Watcher, train

from .test_loop import identical, weights


class Notes(Watcher):
    def __init__(self):
        self.sentences = []

    def noted(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture
def go(recipe, splits, tmp_path):
    def go(name, **options):
        notes = Notes()
        run = train(
            replace(recipe, epochs=1),
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
    assert "RuntimeError: no compiler); it is trained as it is" in sentence
    assert not run.environment()["compiled"]
    plain, _ = go("plain")
    assert identical(weights(run, "last"), weights(plain, "last"))
