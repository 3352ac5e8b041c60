"""Every registered network, by contract; and the reference networks against hand-computed numbers."""

import pytest
import torch
from torch import nn

from mien import models, recipes
from mien.errors import InputError
from mien.input_spec import InputSpec

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
    "dropout-cnn": (9 * 1 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (9 * 128 * 256 + 256)
    + (2304 * 256 + 256)
    + (256 * 7 + 7),
    "simple-cnn": (9 * 3 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (64 * 32 * 32 * 128 + 128)
    + (128 * 7 + 7),
    "simple-cnn-v2": (9 * 3 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + 2 * (32 + 64 + 128)
    + (128 * 16 * 16 * 256 + 256)
    + (256 * 7 + 7),
    "improved-cnn": (9 * 3 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (9 * 128 * 128 + 128)
    + 2 * (32 + 64 + 128 + 128)
    + (128 * 8 * 8 * 256 + 256)
    + (256 * 7 + 7),
    "enhanced-cnn": (9 * 3 * 32 + 32)
    + (9 * 32 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (9 * 128 * 128 + 128)
    + (9 * 128 * 96 + 96)
    + (9 * 96 * 96 + 96)
    + 2 * (32 + 64 + 128 + 96)
    + (96 * 4 * 4 * 128 + 128)
    + (128 * 64 + 64)
    + (64 * 7 + 7),
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
    "dropout-cnn": 9 * 32 * 48**2
    + 9 * 32 * 64 * 24**2
    + 9 * 64 * 128 * 12**2
    + 9 * 128 * 256 * 6**2
    + 2304 * 256
    + 256 * 7,
    "simple-cnn": 9 * 3 * 32 * 128**2 + 9 * 32 * 64 * 64**2 + 64 * 32 * 32 * 128 + 128 * 7,
    "simple-cnn-v2": 9 * 3 * 32 * 128**2
    + 9 * 32 * 64 * 64**2
    + 9 * 64 * 128 * 32**2
    + 128 * 16 * 16 * 256
    + 256 * 7,
    "improved-cnn": 9 * 3 * 32 * 128**2
    + 9 * 32 * 64 * 64**2
    + 9 * 64 * 128 * 32**2
    + 9 * 128 * 128 * 16**2
    + 128 * 8 * 8 * 256
    + 256 * 7,
    "enhanced-cnn": 9 * (3 * 32 + 32 * 32) * 128**2
    + 9 * (32 * 64 + 64 * 64) * 64**2
    + 9 * (64 * 128 + 128 * 128) * 32**2
    + 9 * (128 * 96 + 96 * 96) * 16**2
    + 96 * 4 * 4 * 128
    + 128 * 64
    + 64 * 7,
}
# As the systems list them. Pooling comes before ReLU here, which is the same function (tested below).
LAYERS = {
    "basic-cnn": "conv pool relu " * 3 + "linear relu dropout linear",
    "basic-cnn-bn": "conv bn relu conv bn pool relu " * 3
    + "conv bn relu average linear relu dropout linear relu dropout linear",
    "four-block-cnn": "conv bn pool relu " * 4 + "linear relu dropout linear",
    "dropout-cnn": "conv pool relu dropout " * 4 + "linear relu dropout linear",
    "simple-cnn": "conv pool relu " * 2 + "linear relu dropout linear",
    "simple-cnn-v2": "conv bn pool relu " * 3 + "linear relu dropout linear",
    "improved-cnn": "conv bn pool relu " * 4 + "linear relu dropout linear",
    "enhanced-cnn": "conv relu conv relu bn pool "
    "conv relu conv relu bn pool dropout "
    "conv relu conv relu bn pool "
    "conv relu conv relu bn average "
    "linear relu dropout linear relu dropout linear",
}
#: Of the convolutions in order, the filters; of the linear layers, the outputs; of the dropouts, the rates.
SIZES = {
    "basic-cnn": ([32, 64, 128], [512, 7], [0.5]),
    "basic-cnn-bn": ([64, 64, 128, 128, 256, 256, 512], [256, 128, 7], [0.5, 0.5]),
    "four-block-cnn": ([32, 64, 128, 256], [256, 7], [0.4]),
    "dropout-cnn": ([32, 64, 128, 256], [256, 7], [0.25] * 4 + [0.5]),
    "simple-cnn": ([32, 64], [128, 7], [0.2]),
    "simple-cnn-v2": ([32, 64, 128], [256, 7], [0.3]),
    "improved-cnn": ([32, 64, 128, 128], [256, 7], [0.4]),
    "enhanced-cnn": ([32, 32, 64, 64, 128, 128, 96, 96], [128, 64, 7], [0.25, 0.5, 0.3]),
}
KINDS = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "bn",
    nn.MaxPool2d: "pool",
    nn.AdaptiveAvgPool2d: "average",
    nn.ReLU: "relu",
    nn.Dropout: "dropout",
    nn.Linear: "linear",
    nn.Flatten: "",
}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_cost_matches_hand_computed_numbers(name):
    cost = models.cost(name)
    assert cost.parameters == PARAMETERS[name]
    assert cost.multiply_adds == MULTIPLY_ADDS[name]


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_come_in_the_published_order(name):
    network = models.create(name, models.entry(name).input, 7)
    assert " ".join(filter(None, (KINDS[type(m)] for m in network))) == LAYERS[name]
    filters, features, rates = SIZES[name]
    assert [m.out_channels for m in network if isinstance(m, nn.Conv2d)] == filters
    assert [m.out_features for m in network if isinstance(m, nn.Linear)] == features
    assert [m.p for m in network if isinstance(m, nn.Dropout)] == rates
    for conv in (m for m in network if isinstance(m, nn.Conv2d)):
        assert (conv.kernel_size, conv.padding, conv.stride) == ((3, 3), (1, 1), (1, 1))
    for pool in (m for m in network if isinstance(m, nn.MaxPool2d)):
        assert (pool.kernel_size, pool.stride) == (2, 2)


def test_every_reference_network_but_the_backbone_is_counted_by_hand():
    """A network that follows no system is held to the contracts alone."""
    following = {recipes.find(name).model.name for name in recipes.reference_names()}
    counted = following - {"timm"}  # see test_transfer.py
    assert set(PARAMETERS) == set(MULTIPLY_ADDS) == set(LAYERS) == counted


def test_the_last_block_of_enhanced_cnn_is_averaged_to_four_by_four():
    network = models.create("enhanced-cnn", models.entry("enhanced-cnn").input, 7).eval()
    shapes = {}
    for module in network:
        if isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_hook(
                lambda _, inputs, output: shapes.update(before=inputs[0].shape, after=output.shape)
            )
    network(torch.zeros(1, 3, 128, 128))
    assert shapes == {"before": (1, 96, 16, 16), "after": (1, 96, 4, 4)}


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
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(
        2
    ):  # a residual block begins at zero and lets nothing back before the first step
        optimizer.step()
        optimizer.zero_grad()
        logits = network(torch.randn(8, *spec.shape))
        nn.functional.cross_entropy(logits, torch.arange(8) % 7).backward()
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
    first = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True))(ours)
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
