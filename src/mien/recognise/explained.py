"""A photo with the pixels of a face coloured by their influence on the answer, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.recognise.draw import letters
from mien.recognise.explain import AGAINST, FOR, STRONGEST
from mien.recognise.showing import Origin, Shown
from mien.recognise.track import FaceLike

_INK, _GROUND = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True)
class Explanation(Shown):
    """The pixels of a face that speak for its answer and those that speak against it.

    Display with `plot()`, `save(path)`, `show()`, or as the last line of a notebook's cell.

    Attributes:
        expression, probability: the answer; 0..1.
        shown: the network's input, uint8 (C, h, w).
        mattered: float32 (h, w), the fall of the answer's probability when a gray square hides the pixel: see
            `mien.recognise.explain.hidden_parts`.
        picture: the photo, uint8 RGB (H, W, 3), the face in gray under red (for) and blue (against).
        origin: the photo.
    """

    expression: str
    probability: float
    shown: NDArray[np.uint8]
    mattered: NDArray[np.float32]
    picture: NDArray[np.uint8]
    origin: Origin | None

    def __repr__(self) -> str:
        height, width = self.picture.shape[:2]
        return f"<Explanation of {self.expression} in {width} x {height}>"

    def plot(self) -> NDArray[np.uint8]:
        """Return the coloured photo with its legend: uint8 RGB (H, W, 3), of the photo's size."""
        return self.picture

    def _faces(self) -> Sequence[FaceLike]:
        return []


def painted_photo(
    photo: NDArray[np.uint8],
    mattered: NDArray[np.float32],
    to_crop: NDArray[np.float64],
    legend: Sequence[str],
) -> NDArray[np.uint8]:
    """Draw a map over its face in a photo, with a legend.

    Args:
        photo: uint8 RGB (H, W, 3); is not changed.
        mattered: the map, float32 (h, w); positive values become red, negative ones blue.
        to_crop: float64 (2, 3), the affine matrix from (x, y) in the photo to (x, y) in the map.
        legend: the texts of red and blue, and one more line, which is left out if it does not fit. A picture lower
            than the legend gets none.

    Returns:
        uint8 RGB (H, W, 3).
    """
    size = photo.shape[1], photo.shape[0]
    strength = mattered / max(float(np.abs(mattered).max()), 1e-6)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid, inside = (
        cv2.warpAffine(values, to_crop, size, flags=flags)[..., None]
        for values in (strength.astype(np.float32), np.ones(mattered.shape, np.float32))
    )
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    share = STRONGEST * np.abs(laid)
    coloured = gray * (1 - share) + np.where(laid > 0, FOR, AGAINST) * share
    mixed = photo * (1 - inside) + coloured * inside
    image = Image.fromarray(mixed.round().astype(np.uint8))
    _draw_legend(image, legend)
    return np.asarray(image)


def _draw_legend(image: Image.Image, texts: Sequence[str]) -> None:
    """Draw two swatches with their texts and the last line at the bottom of the picture."""
    font = letters(image.size)
    line = round(1.35 * font.size)
    pad, swatch = round(0.3 * font.size), round(0.8 * font.size)
    start = 2 * pad + swatch
    rows = [(text, colour) for text, colour in zip(texts, (FOR, AGAINST, None), strict=True)]
    room = image.width - pad
    rows = [row for row in rows if row[1] or start + font.getlength(row[0]) <= room]
    width = min(image.width, round(start + pad + max(font.getlength(text) for text, _ in rows)))
    top = image.height - line * len(rows) - pad
    if top < 0:
        return  # the legend would hide a picture this low
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top, width, image.height), fill=_GROUND)
    for number, (text, colour) in enumerate(rows):
        y = top + pad // 2 + line * number
        if colour is not None:
            box = (pad, y + (line - swatch) // 2, pad + swatch, y + (line + swatch) // 2)
            draw.rectangle(box, fill=colour)
        draw.text((start, y + line / 2), text, fill=_INK, font=font, anchor="lm")
