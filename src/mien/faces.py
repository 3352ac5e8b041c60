"""What a network is shown: the size, channels and scaling of its input. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
