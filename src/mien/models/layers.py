"""Layers and types of options shared by several families of networks."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le
from torch import nn

#: Factor on a network's numbers of filters and hidden features.
Width = Annotated[float, Gt(0), Le(4)]
#: Probability that a value (or a channel) is dropped in training.
DropRate = Annotated[float, Ge(0), Le(1)]


def widened(features: int, width: float) -> int:
    """Multiply a number of filters or hidden features by `width`; at least 1.

    >>> widened(32, 0.5)
    16
    """
    return max(1, round(features * width))


def conv3x3(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution with padding 1: it keeps height and width, or divides them by the stride."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=bias)
