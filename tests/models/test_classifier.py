"""A run's best weights as a function, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from mien import models
from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.models.device import pick_device
from mien.runs import RunFolder


@pytest.fixture
def run(tmp_path):
    """A run folder with untrained weights, as the loop would leave it."""
    torch.manual_seed(0)
    network = models.create("basic-cnn", InputSpec(), 7)
    recipe = {
        "name": "made up",
        "split": {"holdout": None, "seed": 0},
        "model": {"name": "basic-cnn", "options": {}},
        "input": dataclasses.asdict(InputSpec()),
        "expressions": list("abcdefg"),
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    (tmp_path / "best").mkdir()
    safetensors.torch.save_file(network.state_dict(), tmp_path / "best" / "weights.safetensors")
    return RunFolder.open(tmp_path)


def test_probabilities_are_the_softmax_of_the_network(run):
    faces = np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), dtype=np.uint8)
    classifier = models.load_classifier(run, "cpu")
    answer = classifier(faces)
    logits = classifier.network((torch.from_numpy(faces).float() / 255 - 0.5) / 0.5)
    assert classifier.expressions == tuple("abcdefg")
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(answer, logits.softmax(1).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_read_only_faces_of_any_size_and_channels_are_taken(run):
    faces = np.zeros((2, 3, 60, 40), dtype=np.uint8)
    faces.setflags(write=False)
    assert models.load_classifier(run, "cpu")(faces).shape == (2, 7)


def test_damaged_weights_are_refused(run):
    run.best_weights.write_bytes(run.best_weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged, or not a weights file"):
        models.load_classifier(run, "cpu")


def test_missing_weights_are_refused(run):
    run.best_weights.unlink()
    with pytest.raises(InputError, match="no weights there"):
        models.load_classifier(run, "cpu")


def test_weights_of_another_network_are_refused_by_the_layers_that_differ(run):
    other = models.create("four-block-cnn", InputSpec(), 7)
    safetensors.torch.save_file(other.state_dict(), run.best_weights)
    with pytest.raises(InputError, match=r"do not fit the network in 3, 6, 10 and \d more"):
        models.load_classifier(run, "cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="0 CUDA GPUs"):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(InputError, match="use auto, cpu, cuda"):
        pick_device(name)
