"""Four blocks of one convolution and a small head, normalised (system B) or dropped out (system C). Input 1x48x48."""

from __future__ import annotations

from torch import nn

from mien.models.layers import DropRate, Width, conv3x3, dropped, pooled_relu, widened
from mien.models.networks import register


@register("four-block-cnn")
def four_block_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.4,
    conv_dropout: DropRate = 0.0,
    width: Width = 1.0,
) -> nn.Module:
    """Four blocks conv-BN-ReLU-pool (32, 64, 128, 256), linear 256, dropout; 980,679 parameters at 1x48x48."""
    return _four_blocks(shape, classes, dropout, conv_dropout, width, normalised=True)


@register("dropout-cnn")
def dropout_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.5,
    conv_dropout: DropRate = 0.25,
    width: Width = 1.0,
) -> nn.Module:
    """Four blocks conv-ReLU-pool-dropout (32, 64, 128, 256), linear 256; 979,719 parameters at 1x48x48.

    The system states only "several conv layers with ReLU, max-pooling, dropout after pooling, flatten, dense
    layers". The numbers of layers and filters are mien's choice: those of system B, without its batch
    normalisation, so that the two can be compared.
    """
    return _four_blocks(shape, classes, dropout, conv_dropout, width, normalised=False)


def _four_blocks(
    shape: tuple[int, int, int],
    classes: int,
    dropout: float,
    conv_dropout: float,
    width: float,
    *,
    normalised: bool,
) -> nn.Module:
    channels, height, breadth = shape
    layers: list[nn.Module] = []
    for filters in (widened(n, width) for n in (32, 64, 128, 256)):
        layers.append(conv3x3(channels, filters))
        if normalised:
            layers.append(nn.BatchNorm2d(filters))
        layers += [*pooled_relu(), *dropped(conv_dropout)]
        channels = filters
    hidden = widened(256, width)
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * (height // 16) * (breadth // 16), hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )
