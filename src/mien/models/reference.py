"""The networks of the reference systems A to D. Input 1x48x48, system D's 3x128x128."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mien.input_spec import InputSpec
from mien.models.layers import DropRate, Width, conv3x3, widened
from mien.models.networks import register

#: The input of system D's networks; the system normalises, with values that it does not state.
RGB_128 = InputSpec(channels=3, height=128, width=128)


def _plain(
    name: str,
    summary: str,
    blocks: Sequence[int],
    hidden: int,
    *,
    normalised: bool,
    dropout: float,
    conv_dropout: float = 0.0,
    spec: InputSpec | None = None,
) -> None:
    """Register a network of blocks of one convolution and a pool, a hidden linear layer and dropout.

    Args:
        name, summary: as `mien models` lists it.
        blocks: filters of each block.
        hidden: features of the hidden layer.
        normalised: with batch normalisation after each convolution.
        dropout, conv_dropout: the defaults of the options, before the last layer and after each pool.
        spec: the input that it was made for, if not 1x48x48.
    """
    rate, conv_rate = dropout, conv_dropout

    def build(
        shape: tuple[int, int, int],
        classes: int,
        *,
        dropout: DropRate = rate,
        conv_dropout: DropRate = conv_rate,
        width: Width = 1.0,
    ) -> nn.Module:
        channels, height, breadth = shape
        layers: list[nn.Module] = []
        for filters in (widened(n, width) for n in blocks):
            layers.append(conv3x3(channels, filters))
            if normalised:
                layers.append(nn.BatchNorm2d(filters))
            layers += [*pooled_relu(), *_dropped(conv_dropout)]
            channels, height, breadth = filters, height // 2, breadth // 2
        features = widened(hidden, width)
        return nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(channels * height * breadth, features),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(features, classes),
        )

    build.__doc__ = summary
    register(name, spec)(build)


def pooled_relu() -> list[nn.Module]:
    """2x2 max-pooling, then ReLU.

    The reference systems apply ReLU first. Both orders give the same values and gradients, because
    ReLU is monotone; with pooling first, ReLU has only a quarter of the pixels to process.
    """
    return [nn.MaxPool2d(2), nn.ReLU(inplace=True)]


def _dropped(rate: float) -> list[nn.Module]:
    """Dropout after pooling, as a list of one layer; an empty list if the rate is 0."""
    return [nn.Dropout(rate)] if rate else []


# System A does not state its padding; 1 is taken, so that 128 x 6 x 6 = 4,608 features are flattened.
_plain(
    "basic-cnn",
    "System A, first: three blocks conv-ReLU-pool (32, 64, 128), linear 512, dropout; 2,456,071 parameters at 1x48x48.",
    (32, 64, 128),
    512,
    normalised=False,
    dropout=0.5,
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
    """System A, second: three blocks of two conv-BN-ReLU and a pool (64, 128, 256), conv 512, mean, 256, 128."""

    def conv_bn(inputs: int, outputs: int) -> list[nn.Module]:
        return [conv3x3(inputs, outputs), nn.BatchNorm2d(outputs)]

    channels = shape[0]
    layers: list[nn.Module] = []
    for filters in (widened(64, width), widened(128, width), widened(256, width)):
        layers += [*conv_bn(channels, filters), nn.ReLU(inplace=True)]
        layers += [*conv_bn(filters, filters), *pooled_relu(), *_dropped(conv_dropout)]
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


_plain(
    "four-block-cnn",
    "System B: four blocks conv-BN-ReLU-pool (32, 64, 128, 256), linear 256, dropout; 980,679 parameters at 1x48x48.",
    (32, 64, 128, 256),
    256,
    normalised=True,
    dropout=0.4,
)
# System C says "several conv layers with ReLU, max-pooling, dropout after pooling, flatten, dense layers": the numbers
# of layers and filters are chosen here, those of system B without its batch normalisation, so that the two can be
# compared.
_plain(
    "dropout-cnn",
    "System C: four blocks conv-ReLU-pool-dropout (32, 64, 128, 256), linear 256; 979,719 parameters at 1x48x48.",
    (32, 64, 128, 256),
    256,
    normalised=False,
    dropout=0.5,
    conv_dropout=0.25,
)
_plain(
    "simple-cnn",
    "System D, network 1: two blocks conv-ReLU-pool (32, 64), linear 128, dropout; 8,409,031 parameters.",
    (32, 64),
    128,
    normalised=False,
    dropout=0.2,
    spec=RGB_128,
)
_plain(
    "simple-cnn-v2",
    "System D, network 2: three blocks conv-BN-ReLU-pool (32, 64, 128), linear 256, dropout; 8,484,359 parameters.",
    (32, 64, 128),
    256,
    normalised=True,
    dropout=0.3,
    spec=RGB_128,
)
_plain(
    "improved-cnn",
    "System D, network 3: four blocks conv-BN-ReLU-pool (32, 64, 128, 128), linear 256, dropout; 2,340,743 parameters.",
    (32, 64, 128, 128),
    256,
    normalised=True,
    dropout=0.4,
    spec=RGB_128,
)


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
    """System D, network 4: four blocks conv-ReLU-conv-ReLU-BN (32, 64, 128, 96), linear 128 and 64; 686,823 parameters.

    The first three blocks end in a pool, the second in `conv_dropout` as well; the last is averaged
    to 4x4.
    """
    channels = shape[0]
    layers: list[nn.Module] = []
    ends: tuple[list[nn.Module], ...] = (
        [nn.MaxPool2d(2)],
        [nn.MaxPool2d(2), *_dropped(conv_dropout)],
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
