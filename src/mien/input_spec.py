"""The input of a network: size, channels and scaling. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Weights of red, green and blue in a gray level: Rec. 601 luma, as PIL's convert("L") uses.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class InputSpec:
    """The conversion of a uint8 face to a network's input.

    A face of any size with 1 or 3 channels (RGB) is converted to `channels` (luma, or gray repeated),
    resized to `height` x `width` pixels (bilinear, antialiased; readers of data and recognition make it
    square first, see `mien.resize.squared`), scaled to 0..1 and normalised: `(x - mean) / std`.

    Attributes:
        channels: 1 (gray) or 3 (RGB).
        height, width: pixels.
        mean, std: of the normalisation, for values 0..1; one for all channels, or one for each.
        standardise: first scale each face to mean 0 and standard deviation 1 over its own pixels, which removes
            differences of light and contrast. A standard deviation below about 0.01 (of 0..1) is noise, and
            is not scaled up.

    >>> InputSpec(channels=3, height=112, width=112).shape
    (3, 112, 112)
    """

    channels: int = 1
    height: int = 48
    width: int = 48
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    standardise: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    def fault(self) -> str | None:
        """The fault of these values in a few words; None if they are valid."""
        if self.channels not in (1, 3):
            return f"input.channels={self.channels}: faces have 1 or 3 channels"
        if min(self.height, self.width) < 1:
            return f"input {self.height}x{self.width}: height and width are at least 1 pixel"
        if not {len(self.mean), len(self.std)} <= {1, self.channels}:
            return f"input.mean and input.std need 1 or {self.channels} values"
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            return "input.mean and input.std must be finite numbers, std above 0"
        return None
