"""System A: a basic CNN, then a deeper one with batch normalisation. Input 1x48x48."""

from __future__ import annotations

from torch import nn

from mien.models.layers import DropRate, Width, conv3x3, dropped, pooled_relu, widened
from mien.models.networks import register


@register("basic-cnn")
def basic_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.5,
    conv_dropout: DropRate = 0.0,
    width: Width = 1.0,
) -> nn.Module:
    """Three blocks conv-ReLU-pool (32, 64, 128), linear 512, dropout; 2,456,071 parameters at 1x48x48.

    The system does not state its padding; mien uses 1, so that 128 x 6 x 6 = 4,608 features are flattened.
    """
    channels, height, breadth = shape
    layers: list[nn.Module] = []
    for filters in (widened(32, width), widened(64, width), widened(128, width)):
        layers += [conv3x3(channels, filters), *pooled_relu(), *dropped(conv_dropout)]
        channels = filters
    hidden = widened(512, width)
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * (height // 8) * (breadth // 8), hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )


@register("basic-cnn-bn")
def basic_cnn_bn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dropout: DropRate = 0.5,
    conv_dropout: DropRate = 0.0,
    width: Width = 1.0,
) -> nn.Module:
    """Three blocks of two conv-BN-ReLU and a pool (64, 128, 256), conv 512, global pooling, 256, 128."""

    def conv_bn(inputs: int, outputs: int) -> list[nn.Module]:
        return [conv3x3(inputs, outputs), nn.BatchNorm2d(outputs)]

    channels = shape[0]
    layers: list[nn.Module] = []
    for filters in (widened(64, width), widened(128, width), widened(256, width)):
        layers += [*conv_bn(channels, filters), nn.ReLU(inplace=True)]
        layers += [*conv_bn(filters, filters), *pooled_relu(), *dropped(conv_dropout)]
        channels = filters
    last, first_hidden, second_hidden = (widened(n, width) for n in (512, 256, 128))
    return nn.Sequential(
        *layers,
        *conv_bn(channels, last),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(last, first_hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(first_hidden, second_hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(second_hidden, classes),
    )
