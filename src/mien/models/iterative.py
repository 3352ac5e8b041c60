"""System D: five networks in turn, each an answer to the one before. Input 3x128x128."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mien.faces import InputSpec
from mien.models.layers import conv3x3, pooled_relu
from mien.models.registry import register

#: The input of all five; the system normalises, with values that it does not state.
RGB_128 = InputSpec(channels=3, height=128, width=128)


@register("simple-cnn", RGB_128)
def simple_cnn(shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2) -> nn.Module:
    """Two blocks conv-ReLU-pool (32, 64), linear 128, dropout; 8,409,031 parameters."""
    return _plain(shape, classes, (32, 64), 128, dropout, normalised=False)


@register("simple-cnn-v2", RGB_128)
def simple_cnn_v2(shape: tuple[int, int, int], classes: int, *, dropout: float = 0.3) -> nn.Module:
    """Three blocks conv-BN-ReLU-pool (32, 64, 128), linear 256, dropout; 8,484,359 parameters."""
    return _plain(shape, classes, (32, 64, 128), 256, dropout, normalised=True)


@register("improved-cnn", RGB_128)
def improved_cnn(shape: tuple[int, int, int], classes: int, *, dropout: float = 0.4) -> nn.Module:
    """Four blocks conv-BN-ReLU-pool (32, 64, 128, 128), linear 256, dropout; 2,340,743 parameters."""
    return _plain(shape, classes, (32, 64, 128, 128), 256, dropout, normalised=True)


@register("enhanced-cnn", RGB_128)
def enhanced_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    conv_dropout: float = 0.25,
    dropout: float = 0.5,
    last_dropout: float = 0.3,
) -> nn.Module:
    """Four blocks conv-ReLU-conv-ReLU-BN (32, 64, 128, 96), linear 128 and 64; 686,823 parameters.

    The first three blocks end in a pool, the second in `conv_dropout` as well; the last is averaged
    to 4x4.
    """
    channels = shape[0]
    layers: list[nn.Module] = []
    for filters in (32, 64, 128, 96):
        layers += [conv3x3(channels, filters), nn.ReLU(inplace=True)]
        layers += [conv3x3(filters, filters), nn.ReLU(inplace=True), nn.BatchNorm2d(filters)]
        if filters != 96:
            layers.append(nn.MaxPool2d(2))
        if filters == 64:
            layers.append(nn.Dropout(conv_dropout))
        channels = filters
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(channels * 4 * 4, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(128, 64),
        nn.ReLU(inplace=True),
        nn.Dropout(last_dropout),
        nn.Linear(64, classes),
    )


def _plain(
    shape: tuple[int, int, int],
    classes: int,
    widths: Sequence[int],
    hidden: int,
    dropout: float,
    *,
    normalised: bool,
) -> nn.Module:
    """Blocks of one convolution and a pool, a hidden linear layer, dropout."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for filters in widths:
        layers.append(conv3x3(channels, filters))
        if normalised:
            layers.append(nn.BatchNorm2d(filters))
        layers += pooled_relu()
        channels, height, width = filters, height // 2, width // 2
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * height * width, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )
