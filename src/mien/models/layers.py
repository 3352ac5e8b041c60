"""Layers that several families share."""

from __future__ import annotations

from torch import nn


def conv3x3(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps height and width (padding 1)."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=bias)


def pooled_relu() -> list[nn.Module]:
    """2x2 max-pooling and ReLU.

    The reference systems write ReLU first. Both orders give the same values and gradients, for
    ReLU is monotone; pooled first, ReLU reads a quarter of the pixels.
    """
    return [nn.MaxPool2d(2), nn.ReLU(inplace=True)]
