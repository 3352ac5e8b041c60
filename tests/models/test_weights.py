"""Weights from files: what is read, what is refused, what fits and what stays new."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from timm.models._manipulate import adapt_input_conv
from torch import nn

from mien import models
from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.models.weights import InitialWeights, head_names, load_weights, read_weights

SMALL = InputSpec(height=16, width=16)
CLASSES = tuple("abcdefg")


def network(seed=0, channels=1, classes=7, name="four-block-cnn"):
    torch.manual_seed(seed)
    return models.create(name, InputSpec(channels, 16, 16), classes).eval()


@pytest.fixture
def tensors():
    return network().state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


class Code:
    """A pickle of this runs a command when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def saved(content, path, **options):
    torch.save(content, path, **options)
    return path


WRITERS = {
    "safetensors": lambda t, path: safetensors.torch.save_file(t, path) or path,
    "a state dict": saved,
    "an old one": lambda t, path: saved(t, path, _use_new_zipfile_serialization=False),
    "a checkpoint": lambda t, path: saved({"epoch": 3, "state_dict": t}, path),
    "nested twice": lambda t, path: saved({"model": {"state_dict": t}}, path),
    "of DataParallel": lambda t, path: saved({f"module.{n}": v for n, v in t.items()}, path),
    "compiled": lambda t, path: saved({"model": {f"_orig_mod.{n}": t[n] for n in t}}, path),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_weights_are_read_from_every_kind_of_file(write, tensors, tmp_path):
    assert same(read_weights(write(tensors, tmp_path / "weights")), tensors)


PICKLES = {
    "beside tensors": lambda code, path: saved({"w": torch.zeros(2), "x": code}, path),
    "in an old file": lambda code, path: saved(
        {"x": code}, path, _use_new_zipfile_serialization=False
    ),
    "plain": lambda code, path: path.write_bytes(pickle.dumps(code, protocol=2)),
    "plain and new": lambda code, path: path.write_bytes(pickle.dumps(code, protocol=4)),
}


@pytest.mark.parametrize("write", PICKLES.values(), ids=PICKLES)
def test_a_pickle_with_code_is_refused_and_not_run(write, tmp_path):
    path, mark = tmp_path / "weights.pt", tmp_path / "it-ran"
    write(Code(mark), path)
    with pytest.raises(
        InputError, match="refused, because it is a pickle with code in it"
    ) as refusal:
        read_weights(path)
    assert "\n" not in str(refusal.value)
    assert not mark.exists()


def test_a_whole_network_in_a_pickle_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"names torch.nn.modules.linear.Linear.*state_dict"):
        read_weights(saved(nn.Linear(2, 2), tmp_path / "whole.pt"))


BROKEN = {
    "text": (b"emotion,pixels\n0,70 80 82", "damaged, or not a weights file"),
    "empty": (b"", "damaged, or not a weights file"),
    "half a safetensors file": (
        safetensors.torch.save({"w": torch.zeros(99)})[:200],
        "damaged, or not a weights file",
    ),
    "no tensor": (safetensors.torch.save({}), "no tensor in it"),
}


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_refused(content, words, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as refusal:
        read_weights(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"loss": 0.5}, {"state_dict": {"a": 1}}])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    with pytest.raises(InputError, match="no state dict"):
        read_weights(saved(content, tmp_path / "weights"))


def test_half_a_checkpoint_is_refused(tensors, tmp_path):
    path = saved(tensors, tmp_path / "weights")
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InputError, match="damaged, or not a weights file"):
        read_weights(path)


def test_the_head_is_the_last_linear_layer():
    assert head_names(network(name="basic-cnn")) == {"13.weight", "13.bias"}


def test_a_network_without_a_head_is_refused():
    with pytest.raises(InputError, match="Sequential has no linear layer"):
        head_names(nn.Sequential(nn.Conv2d(1, 7, 3), nn.Flatten()))


@pytest.mark.parametrize("classes", [7, 3])
def test_all_is_taken_over_but_a_head_of_other_classes(classes, tensors):
    fresh = network(seed=1, classes=classes)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    noted = InitialWeights(tensors, "there").start(fresh, CLASSES[:classes])
    head = head_names(fresh)
    for name, tensor in fresh.state_dict().items():
        expected = before if classes == 3 and name in head else tensors
        assert torch.equal(tensor, expected[name])
    assert noted["new_head"] is (classes == 3)


def test_a_head_of_the_same_classes_in_another_order_is_not_taken_over(tensors):
    initial = InitialWeights(tensors, "there", CLASSES)
    assert initial.fitting(network(seed=1), CLASSES).keys() == tensors.keys()
    turned = initial.fitting(network(seed=1), CLASSES[::-1])
    assert tensors.keys() - turned.keys() == head_names(network())


def test_weights_without_a_head_and_without_counts_of_batches_are_enough(tensors):
    head = head_names(network())
    bare = {n: t for n, t in tensors.items() if n not in head and "num_batches" not in n}
    assert InitialWeights(bare, "there").fitting(network(seed=1)).keys() == bare.keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {n: v for n, v in t.items() if n != "4.weight"}, r"in 4;"),
        (lambda t: t | {"99.weight": torch.zeros(1)}, r"in 99;"),
        (lambda t: t | {"1.bias": torch.zeros(5)}, r"in 1;"),
        (lambda t: {f"x.{n}": v for n, v in t.items()}, r"in 0, 1, 4 and \d+ more;"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_their_layers(change, words, tensors):
    with pytest.raises(InputError, match=f"^there: its weights do not fit the network {words}"):
        InitialWeights(change(tensors), "there").fitting(network())


def test_a_run_s_own_weights_must_fit_whole(tensors, tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(InputError, match="do not fit the network in 20"):
        load_weights(network(classes=3), path)
    fresh = network(seed=1)
    load_weights(fresh, path)
    assert same(fresh.state_dict(), tensors)


@pytest.mark.parametrize(("given", "wanted"), [(3, 1), (1, 3)])
def test_gray_faces_get_the_same_answer_through_another_number_of_channels(given, wanted):
    source, target = network(channels=given), network(seed=1, channels=wanted)
    InitialWeights(source.state_dict(), "there").start(target, CLASSES)
    gray_B1HW = torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            target(gray_B1HW.expand(-1, wanted, -1, -1)),
            source(gray_B1HW.expand(-1, given, -1, -1)),
            rtol=1e-4,
            atol=1e-5,
        )
    if wanted == 1:
        stem = source.state_dict()["0.weight"]
        assert torch.equal(target.state_dict()["0.weight"], adapt_input_conv(1, stem))


def test_the_noted_digest_is_that_of_a_file_of_ours(tensors, tmp_path):
    path = Path(tmp_path / "weights.safetensors")
    path.write_bytes(safetensors.torch.save(tensors))
    noted = InitialWeights(read_weights(path), "there").start(network(seed=1), CLASSES)
    assert noted == {
        "source": "there",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "new_head": False,
    }
