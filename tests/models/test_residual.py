"""mien's own networks against hand-computed numbers, and against the same blocks written out."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mien import models
from mien.input_spec import InputSpec


def counted(widths, sides, depth):
    """Parameters and multiply-adds, layer by layer, of a network of these widths on these sides."""
    parameters = 9 * widths[0] + 2 * widths[0]
    multiply_adds = 9 * widths[0] * sides[0] ** 2
    before = widths[0]
    for stage, (width, side) in enumerate(zip(widths, sides, strict=True)):
        for block in range(depth):
            inputs = before if block == 0 else width
            parameters += 9 * inputs * width + 9 * width * width + 2 * 2 * width
            multiply_adds += 9 * (inputs + width) * width * side**2
            if stage > 0 and block == 0:
                parameters += inputs * width + 2 * width
                multiply_adds += inputs * width * side**2
        before = width
    return parameters + 7 * before + 7, multiply_adds + 7 * before


@pytest.mark.parametrize(
    ("name", "options", "widths", "sides", "depth"),
    [
        ("mien-s", {}, (32, 64, 128, 256), (24, 12, 6, 3), 2),
        ("mien-s", {"width": 1.5, "depth": 1}, (48, 96, 192, 384), (24, 12, 6, 3), 1),
        ("mien-l", {}, (64, 128, 256, 512), (48, 24, 12, 6), 2),
    ],
)
def test_cost_matches_hand_computed_numbers(name, options, widths, sides, depth):
    cost = models.cost(name, options=options)
    assert (cost.parameters, cost.multiply_adds) == counted(widths, sides, depth)


def test_mien_s_keeps_its_promise():
    """At most 100 million multiply-adds, and within 5 MB as a file in int8."""
    cost = models.cost("mien-s")
    assert cost.multiply_adds <= 100e6
    assert cost.parameters <= 5e6


def test_a_block_is_what_its_paper_says():
    """A halving block, written out once more in plain functions."""
    torch.manual_seed(0)
    network = models.create("mien-s", InputSpec(), 7).eval()
    block = network.blocks[2]
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)

    def norm(x, bn):
        return functional.batch_norm(
            x, bn.running_mean, bn.running_var, bn.weight, bn.bias, training=False
        )

    x = torch.randn(2, 32, 24, 24)
    (conv1, bn1), (conv2, bn2) = block.first, block.second
    _, conv0, bn0 = block.shortcut
    hidden = norm(functional.conv2d(x, conv1.weight, stride=2, padding=1), bn1).relu()
    pooled = functional.avg_pool2d(x, 2)
    expected = norm(functional.conv2d(hidden, conv2.weight, padding=1), bn2)
    expected = (expected + norm(functional.conv2d(pooled, conv0.weight), bn0)).relu()
    with torch.no_grad():
        torch.testing.assert_close(block(x.clone()), expected)


def test_before_training_a_block_without_halving_hands_on_what_it_is_given():
    network = models.create("mien-s", InputSpec(), 7)
    x = torch.randn(2, 32, 24, 24).relu()
    torch.testing.assert_close(network.blocks[0](x.clone()), x)
