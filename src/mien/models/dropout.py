"""System C: a plain CNN that leans on dropout. Input 1x48x48."""

from __future__ import annotations

from torch import nn

from mien.models.layers import conv3x3, pooled_relu
from mien.models.registry import register


@register("dropout-cnn")
def dropout_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    conv_dropout: float = 0.25,
    dropout: float = 0.5,
) -> nn.Module:
    """Four blocks conv-ReLU-pool-dropout (32, 64, 128, 256), linear 256; 979,719 parameters at 1x48x48.

    The system says "several conv layers with ReLU, max-pooling, dropout after pooling, flatten, dense
    layers": the numbers of layers and filters are chosen here, those of system B without its
    batch normalisation, so that the two can be compared.
    """
    channels, height, width = shape
    layers: list[nn.Module] = []
    for filters in (32, 64, 128, 256):
        layers += [conv3x3(channels, filters), *pooled_relu(), nn.Dropout(conv_dropout)]
        channels = filters
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * (height // 16) * (width // 16), 256),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(256, classes),
    )
