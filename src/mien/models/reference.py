"""The networks of the reference systems A to D. Input 1x48x48, system D's 3x128x128."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mien.input_spec import InputSpec
from mien.models.layers import DropRate, Width, conv3x3, widened
from mien.models.networks import register

#: The input of system D's networks; the system normalises, with values that it does not state.
RGB_128 = InputSpec(channels=3, height=128, width=128)


def _network(
    shape: tuple[int, int, int],
    classes: int,
    layers: str,
    hidden: Sequence[int],
    *,
    dropouts: Sequence[float],
    conv_dropout: float,
    width: float,
) -> nn.Module:
    """A sequence of convolutions, then linear layers.

    The reference systems apply ReLU before pooling. Both orders give the same values and gradients,
    because ReLU is monotone; after "pool" ReLU has only a quarter of the pixels to process.

    Args:
        shape, classes: of the input (channels, height, width), and the number of expressions.
        layers: "32" is a 3x3 convolution with 32 filters, "norm" batch normalisation, "pool" 2x2
            max-pooling, "mean4" averages to 4x4, "drop" is dropout at `conv_dropout`, none at 0.
        hidden: features of the hidden linear layers, each with ReLU and dropout.
        dropouts: the rate of each hidden layer, 0 to 1.
        conv_dropout: the rate of "drop", 0 to 1.
        width: factor on filters and hidden features.
    """
    channels, height, breadth = shape
    made: list[nn.Module] = []
    for layer in layers.split():
        if layer.isdecimal():
            filters = widened(int(layer), width)
            made.append(conv3x3(channels, filters))
            channels = filters
        elif layer == "norm":
            made.append(nn.BatchNorm2d(channels))
        elif layer == "relu":
            made.append(nn.ReLU(inplace=True))
        elif layer == "pool":
            made.append(nn.MaxPool2d(2))
            height, breadth = height // 2, breadth // 2
        elif layer == "drop":
            made += [nn.Dropout(conv_dropout)] if conv_dropout else []
        else:
            height = breadth = int(layer.removeprefix("mean"))
            made.append(nn.AdaptiveAvgPool2d(height))
    made.append(nn.Flatten())
    features = channels * height * breadth
    for count, rate in zip(hidden, dropouts, strict=True):
        outputs = widened(count, width)
        made += [nn.Linear(features, outputs), nn.ReLU(inplace=True), nn.Dropout(rate)]
        features = outputs
    return nn.Sequential(*made, nn.Linear(features, classes))


def _plain(
    name: str,
    summary: str,
    layers: str,
    *hidden: int,
    dropout: float,
    conv_dropout: float = 0.0,
    spec: InputSpec | None = None,
) -> None:
    """Register a network with the options `dropout`, `conv_dropout` and `width`.

    Args:
        name, summary: as `mien models` lists it.
        layers, hidden: as in `_network`.
        dropout, conv_dropout: the defaults of these options, of the hidden layers and of "drop".
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
        rates = [dropout] * len(hidden)
        return _network(
            shape, classes, layers, hidden, dropouts=rates, conv_dropout=conv_dropout, width=width
        )

    build.__doc__ = summary
    register(name, spec)(build)


def _blocks(*filters: int, norm: bool = False) -> str:
    """Blocks of one convolution and a pool, as `layers` of `_network`."""
    return " ".join(f"{n} {'norm ' * norm}pool relu drop" for n in filters)


# System A does not state its padding; 1 is taken, so that 128 x 6 x 6 = 4,608 features are flattened.
_plain(
    "basic-cnn",
    "System A, first: three blocks conv-ReLU-pool (32, 64, 128), linear 512, dropout; 2,456,071 parameters at 1x48x48.",
    _blocks(32, 64, 128),
    512,
    dropout=0.5,
)
_plain(
    "basic-cnn-bn",
    "System A, second: three blocks of two conv-BN-ReLU and a pool (64, 128, 256), conv 512, mean, 256, 128.",
    "64 norm relu 64 norm pool relu drop 128 norm relu 128 norm pool relu drop "
    "256 norm relu 256 norm pool relu drop 512 norm relu mean1",
    256,
    128,
    dropout=0.5,
)
_plain(
    "four-block-cnn",
    "System B: four blocks conv-BN-ReLU-pool (32, 64, 128, 256), linear 256, dropout; 980,679 parameters at 1x48x48.",
    _blocks(32, 64, 128, 256, norm=True),
    256,
    dropout=0.4,
)
# System C says "several conv layers with ReLU, max-pooling, dropout after pooling, flatten, dense layers": the numbers
# of layers and filters are chosen here, those of system B without its batch normalisation, so that the two can be
# compared.
_plain(
    "dropout-cnn",
    "System C: four blocks conv-ReLU-pool-dropout (32, 64, 128, 256), linear 256; 979,719 parameters at 1x48x48.",
    _blocks(32, 64, 128, 256),
    256,
    dropout=0.5,
    conv_dropout=0.25,
)
_plain(
    "simple-cnn",
    "System D, network 1: two blocks conv-ReLU-pool (32, 64), linear 128, dropout; 8,409,031 parameters.",
    _blocks(32, 64),
    128,
    dropout=0.2,
    spec=RGB_128,
)
_plain(
    "simple-cnn-v2",
    "System D, network 2: three blocks conv-BN-ReLU-pool (32, 64, 128), linear 256, dropout; 8,484,359 parameters.",
    _blocks(32, 64, 128, norm=True),
    256,
    dropout=0.3,
    spec=RGB_128,
)
_plain(
    "improved-cnn",
    "System D, network 3: four blocks conv-BN-ReLU-pool (32, 64, 128, 128), linear 256, dropout; 2,340,743 parameters.",
    _blocks(32, 64, 128, 128, norm=True),
    256,
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
    layers = (
        "32 relu 32 relu norm pool 64 relu 64 relu norm pool drop "
        "128 relu 128 relu norm pool 96 relu 96 relu norm mean4"
    )
    rates = (dropout, last_dropout)
    return _network(
        shape, classes, layers, (128, 64), dropouts=rates, conv_dropout=conv_dropout, width=width
    )
