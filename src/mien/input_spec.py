"""What a network is shown: the size, channels and scaling of its input. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The shares of red, green and blue in a gray level: Rec. 601 luma, as PIL's convert("L") computes it.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class InputSpec:
    """How a uint8 face becomes a network's input.

    A face of any size and 1 or 3 channels (RGB) is converted to `channels` (luma, or the gray
    repeated), resized to `height` x `width` pixels (bilinear, antialiased, aspect not kept, as
    the reference systems do), scaled to 0..1, then normalised: `(x - mean) / std`.

    Attributes:
        standardise: each face is first given mean 0 and standard deviation 1 by its own pixels, so that
            light and contrast do not matter. A standard deviation below about 0.01 (of 0..1) is that of
            noise: such a face stays flat.
    """

    channels: int = 1
    height: int = 48
    width: int = 48
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    standardise: bool = False

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> InputSpec:
        """From plain values, as JSON gives them back; TypeError for fields that are not ours."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**plain)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    def fault(self) -> str | None:
        """What is wrong with these values, in a few words; None where nothing is."""
        if self.channels not in (1, 3):
            return f"input.channels={self.channels}: faces have 1 or 3 channels"
        if min(self.height, self.width) < 1:
            return f"input {self.height}x{self.width}: height and width are at least 1 pixel"
        if not {len(self.mean), len(self.std)} <= {1, self.channels}:
            return f"input.mean and input.std need 1 or {self.channels} values"
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            return "input.mean and input.std must be finite numbers, std above 0"
        return None
