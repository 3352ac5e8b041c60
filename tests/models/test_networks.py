"""Every registered network, by contract; and the reference networks against hand-computed numbers."""

import pytest
import torch
from torch import nn

from mien import models
from mien.errors import InputError
from mien.faces import InputSpec
from mien.models.layers import pooled_relu

# Written out from REFERENCE layers: weights + biases of each layer, BatchNorm counting two a channel.
PARAMETERS = {
    "basic-cnn": (9 * 1 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (4608 * 512 + 512)
    + (512 * 7 + 7),
    "basic-cnn-bn": (9 * 1 * 64 + 64)
    + (9 * 64 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (9 * 128 * 128 + 128)
    + (9 * 128 * 256 + 256)
    + (9 * 256 * 256 + 256)
    + (9 * 256 * 512 + 512)
    + 2 * (2 * 64 + 2 * 128 + 2 * 256 + 512)
    + (512 * 256 + 256)
    + (256 * 128 + 128)
    + (128 * 7 + 7),
    "four-block-cnn": (9 * 1 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (9 * 128 * 256 + 256)
    + 2 * (32 + 64 + 128 + 256)
    + (2304 * 256 + 256)
    + (256 * 7 + 7),
}
MULTIPLY_ADDS = {
    "basic-cnn": 9 * 32 * 48**2 + 9 * 32 * 64 * 24**2 + 9 * 64 * 128 * 12**2 + 4608 * 512 + 512 * 7,
    "basic-cnn-bn": 9 * (64 + 64 * 64) * 48**2
    + 9 * (64 * 128 + 128 * 128) * 24**2
    + 9 * (128 * 256 + 256 * 256) * 12**2
    + 9 * 256 * 512 * 6**2
    + 512 * 256
    + 256 * 128
    + 128 * 7,
    "four-block-cnn": 9 * 32 * 48**2
    + 9 * 32 * 64 * 24**2
    + 9 * 64 * 128 * 12**2
    + 9 * 128 * 256 * 6**2
    + 2304 * 256
    + 256 * 7,
}
LAYERS = {
    "basic-cnn": "conv conv conv linear linear",
    "basic-cnn-bn": "conv bn conv bn conv bn conv bn conv bn conv bn conv bn linear linear linear",
    "four-block-cnn": "conv bn conv bn conv bn conv bn linear linear",
}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_cost_matches_hand_computed_numbers(name):
    cost = models.cost(name)
    assert cost.parameters == PARAMETERS[name]
    assert cost.multiply_adds == MULTIPLY_ADDS[name]


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_come_in_the_published_order(name):
    kinds = {nn.Conv2d: "conv", nn.BatchNorm2d: "bn", nn.Linear: "linear"}
    network = models.create(name, InputSpec(), 7)
    assert " ".join(kinds[type(m)] for m in network if type(m) in kinds) == LAYERS[name]


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("classes", [3, 7, 8])
def test_logits_have_a_column_for_each_class(name, classes):
    spec = models.entry(name).input
    network = models.create(name, spec, classes).eval()
    assert network(torch.zeros(2, *spec.shape)).shape == (2, classes)


@pytest.mark.parametrize("name", models.names())
def test_every_parameter_learns(name):
    spec = models.entry(name).input
    torch.manual_seed(0)
    network = models.create(name, spec, 7)
    loss = nn.functional.cross_entropy(network(torch.randn(8, *spec.shape)), torch.arange(8) % 7)
    loss.backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before BatchNorm is taken out again by the mean: its gradient is rounding, or nothing.
    assert all(name.endswith("bias") for name in without)


@pytest.mark.parametrize("name", models.names())
def test_one_face_is_answered_as_in_a_batch(name):
    spec = models.entry(name).input
    network = models.create(name, spec, 7).eval()
    faces = torch.randn(3, *spec.shape)
    with torch.no_grad():
        torch.testing.assert_close(network(faces)[1:2], network(faces[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", models.names())
def test_every_network_says_what_it_is(name):
    assert models.entry(name).summary.endswith(".")


def test_pooling_before_relu_gives_the_same_values_and_gradients():
    x = torch.randn(4, 8, 12, 12, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.randn(4, 8, 6, 6, dtype=torch.float64)
    first = nn.Sequential(*pooled_relu())(ours)
    second = nn.functional.max_pool2d(nn.functional.relu(theirs), 2)
    (first * weights).sum().backward()
    (second * weights).sum().backward()
    assert torch.equal(first, second)
    assert torch.equal(ours.grad, theirs.grad)


def test_three_channels_and_other_sizes_can_be_built():
    spec = InputSpec(channels=3, height=64, width=96)
    assert models.create("four-block-cnn", spec, 7)(torch.zeros(2, 3, 64, 96)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("four-blok-cnn", {}, ["four-blok-cnn", "did you mean four-block-cnn"]),
        ("four-block-cnn", {"dropuot": 0.1}, ["dropuot", "did you mean dropout"]),
        ("four-block-cnn", {"dropout": "much"}, ["dropout", "much"]),
    ],
)
def test_unknown_names_and_values_are_refused_with_a_hint(name, options, words):
    with pytest.raises(InputError) as refusal:
        models.create(name, InputSpec(), 7, options)
    assert all(word in str(refusal.value) for word in words)


def test_an_input_too_small_for_the_network_is_refused():
    with pytest.raises(InputError, match="cannot be built for an input of"):
        models.create("four-block-cnn", InputSpec(height=8, width=8), 7)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_width_scales_every_layer_but_the_input_and_the_classes(name):
    spec = models.entry(name).input
    whole = models.create(name, spec, 7)
    half = models.create(name, spec, 7, {"width": 0.5})
    sizes = [
        [
            (m.weight.shape[1], m.weight.shape[0])
            for m in net
            if hasattr(m, "weight") and m.weight.dim() > 1
        ]
        for net in (whole, half)
    ]
    ends = [(sizes[0][0][0], 7)] * 2
    assert [(s[0][0], s[-1][1]) for s in sizes] == ends
    assert [2 * n for _, n in sizes[1][:-1]] == [n for _, n in sizes[0][:-1]]


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_dropout_after_pooling_adds_no_parameter_and_acts_only_in_training(name):
    spec = models.entry(name).input
    plain = models.create(name, spec, 7, {"conv_dropout": 0.0})
    dropped = models.create(name, spec, 7, {"conv_dropout": 0.3})
    count = sum(isinstance(m, nn.Dropout) for m in plain)
    assert sum(isinstance(m, nn.Dropout) for m in dropped) > count
    dropped.load_state_dict(
        dict(zip(dropped.state_dict(), plain.state_dict().values(), strict=True))
    )
    faces = torch.randn(2, *spec.shape)
    with torch.no_grad():
        assert torch.equal(plain.eval()(faces), dropped.eval()(faces))
