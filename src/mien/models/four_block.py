"""System B: four convolutional blocks and a small head. Input 1x48x48."""

from __future__ import annotations

from torch import nn

from mien.models.layers import conv3x3, pooled_relu
from mien.models.registry import register


@register("four-block-cnn")
def four_block_cnn(shape: tuple[int, int, int], classes: int, *, dropout: float = 0.4) -> nn.Module:
    """Four blocks conv-BN-ReLU-pool (32, 64, 128, 256), linear 256, dropout; 980,679 parameters at 1x48x48."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for filters in (32, 64, 128, 256):
        layers += [conv3x3(channels, filters), nn.BatchNorm2d(filters), *pooled_relu()]
        channels = filters
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * (height // 16) * (width // 16), 256),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(256, classes),
    )
