"""What a network is shown: the size, channels and scaling of its input. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InputSpec:
    """How a uint8 face becomes a network's input.

    A face of any size and 1 or 3 channels (RGB) is converted to `channels` (luma, or the gray
    repeated), resized to `height` x `width` pixels (bilinear, antialiased, aspect not kept, as
    the reference systems do), scaled to 0..1, then normalised: `(x - mean) / std`.
    """

    channels: int = 1
    height: int = 48
    width: int = 48
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width
