"""System D: five networks, each designed after the results of the one before. Input 3x128x128."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mien.input_spec import InputSpec
from mien.models.layers import DropRate, Width, conv3x3, dropped, pooled_relu, widened
from mien.models.networks import register

#: The input of all five. The system normalises it, but does not state the values.
RGB_128 = InputSpec(channels=3, height=128, width=128)


@register("simple-cnn", RGB_128)
def simple_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.2,
    conv_dropout: DropRate = 0.0,
    width: Width = 1.0,
) -> nn.Module:
    """Two blocks conv-ReLU-pool (32, 64), linear 128, dropout; 8,409,031 parameters."""
    return _plain(shape, classes, (32, 64), 128, dropout, conv_dropout, width, normalised=False)


@register("simple-cnn-v2", RGB_128)
def simple_cnn_v2(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.3,
    conv_dropout: DropRate = 0.0,
    width: Width = 1.0,
) -> nn.Module:
    """Three blocks conv-BN-ReLU-pool (32, 64, 128), linear 256, dropout; 8,484,359 parameters."""
    return _plain(shape, classes, (32, 64, 128), 256, dropout, conv_dropout, width, normalised=True)


@register("improved-cnn", RGB_128)
def improved_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.4,
    conv_dropout: DropRate = 0.0,
    width: Width = 1.0,
) -> nn.Module:
    """Four blocks conv-BN-ReLU-pool (32, 64, 128, 128), linear 256, dropout; 2,340,743 parameters."""
    filters = (32, 64, 128, 128)
    return _plain(shape, classes, filters, 256, dropout, conv_dropout, width, normalised=True)


@register("enhanced-cnn", RGB_128)
def enhanced_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.5,
    last_dropout: DropRate = 0.3,
    conv_dropout: DropRate = 0.25,
    width: Width = 1.0,
) -> nn.Module:
    """Four blocks conv-ReLU-conv-ReLU-BN (32, 64, 128, 96), linear 128 and 64; 686,823 parameters.

    The first three blocks end with max-pooling, the second also with `conv_dropout`; the last is pooled
    to 4x4 by averages.
    """
    channels = shape[0]
    layers: list[nn.Module] = []
    ends: tuple[list[nn.Module], ...] = (
        [nn.MaxPool2d(2)],
        [nn.MaxPool2d(2), *dropped(conv_dropout)],
        [nn.MaxPool2d(2)],
        [nn.AdaptiveAvgPool2d(4)],
    )
    for standard, end in zip((32, 64, 128, 96), ends, strict=True):
        filters = widened(standard, width)
        layers += [conv3x3(channels, filters), nn.ReLU(inplace=True)]
        layers += [conv3x3(filters, filters), nn.ReLU(inplace=True), nn.BatchNorm2d(filters)]
        layers += end
        channels = filters
    first_hidden, second_hidden = widened(128, width), widened(64, width)
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * 4 * 4, first_hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(first_hidden, second_hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(last_dropout),
        nn.Linear(second_hidden, classes),
    )


def _plain(
    shape: tuple[int, int, int],
    classes: int,
    blocks: Sequence[int],
    hidden: int,
    dropout: float,
    conv_dropout: float,
    width: float,
    *,
    normalised: bool,
) -> nn.Module:
    """Build blocks of one convolution and max-pooling, then a hidden linear layer and dropout."""
    channels, height, breadth = shape
    layers: list[nn.Module] = []
    for filters in (widened(n, width) for n in blocks):
        layers.append(conv3x3(channels, filters))
        if normalised:
            layers.append(nn.BatchNorm2d(filters))
        layers += [*pooled_relu(), *dropped(conv_dropout)]
        channels, height, breadth = filters, height // 2, breadth // 2
    hidden = widened(hidden, width)
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * height * breadth, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )
