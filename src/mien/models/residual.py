"""mien's own networks: residual networks for small faces. Input 1x48x48.

Basic blocks of two 3x3 convolutions (He et al. 2016); shortcuts that pool before their 1x1 convolution
(He et al. 2019, ResNet-D); the last normalisation of each block starts at zero (Goyal et al. 2017).
Plain 3x3 convolutions with multiples of 16 channels run near a CPU's peak; depthwise convolutions do not.
At export, all normalisation is folded into the convolutions.

Shapes: B faces, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

from mien.models.layers import DropRate, Width, conv3x3, widened
from mien.models.networks import register

#: Blocks of each of the four stages.
Depth = Annotated[int, Ge(1), Le(16)]


def _residual(name: str, summary: str, first: int, stem_stride: int) -> None:
    """Register a network whose first stage has so many filters."""

    def build(
        shape: tuple[int, int, int],
        classes: int,
        *,
        width: Width = 1.0,
        depth: Depth = 2,
        dropout: DropRate = 0.0,
    ) -> nn.Module:
        return _Residual(shape[0], classes, first, stem_stride, width, depth, dropout)

    build.__doc__ = summary
    register(name)(build)


_residual(
    "mien-s",
    "The flagship: stem of stride 2, four stages of two blocks (32, 64, 128, 256); 78 M multiply-adds.",
    first=32,
    stem_stride=2,
)
_residual(
    "mien-l",
    "The teacher: stem of stride 1, four stages of two blocks (64, 128, 256, 512); 1,247 M multiply-adds.",
    first=64,
    stem_stride=1,
)


class _Residual(nn.Module):
    """A stem, four stages (each but the first doubles the channels and halves the side), global average, linear head.

    Input float32 (B, channels, H, W), output logits float32 (B, classes). `first` is the number of channels of the
    first stage at width 1.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        first: int,
        stem_stride: int,
        width: float,
        depth: int,
        dropout: float,
    ) -> None:
        super().__init__()
        filters = widened(first, width)
        self.stem = _convolution(channels, filters, stem_stride)
        blocks: list[nn.Module] = []
        for stage in range(4):
            for position in range(depth):
                halving = stage > 0 and position == 0
                outputs = 2 * filters if halving else filters
                blocks.append(_Block(filters, outputs, halving))
                filters = outputs
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters, classes)

    def forward(self, faces_BCHW: Tensor) -> Tensor:
        features_BCHW = self.blocks(functional.relu(self.stem(faces_BCHW), inplace=True))
        logits: Tensor = self.head(self.dropout(features_BCHW.mean(dim=(2, 3))))
        return logits


class _Block(nn.Module):
    """relu(shortcut(x) + conv(relu(conv(x))))."""

    def __init__(self, inputs: int, outputs: int, halving: bool) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 2 if halving else 1)
        self.second = _convolution(outputs, outputs)
        for norm in self.second.children():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.zeros_(norm.weight)  # so that each block starts as its shortcut alone
        self.shortcut = nn.Sequential()
        if halving:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(2, ceil_mode=True),
                nn.Conv2d(inputs, outputs, kernel_size=1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        hidden_BCHW = functional.relu(self.first(inputs_BCHW), inplace=True)
        return functional.relu(self.second(hidden_BCHW) + self.shortcut(inputs_BCHW), inplace=True)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution without bias, and batch normalisation."""
    return nn.Sequential(
        conv3x3(inputs, outputs, stride=stride, bias=False), nn.BatchNorm2d(outputs)
    )
