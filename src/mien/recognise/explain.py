"""Explanations by occlusion: hide a part of a face, and measure how far the answer's probability falls.

After Zeiler and Fergus 2014 (https://arxiv.org/abs/1311.2901). It works with any model, as it needs only the
model's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mien.recognise.draw import letters
from mien.recognise.showing import Origin, Shown

#: The hidden square's side and its steps, as shares of the face's side.
PATCH, STEP = 1 / 5, 1 / 16
_BATCH = 64
#: RGB of pixels for and against the answer, and the share of that colour at the strongest pixel.
FOR, AGAINST, STRONGEST = (255, 30, 30), (40, 90, 255), 0.65


def hidden_parts(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.floating]],
    face: NDArray[np.uint8],
    step: float = STEP,
) -> NDArray[np.float32]:
    """Compute how far the answer's probability falls when a gray square hides each part of a face.

    Args:
        predict: uint8 (N, C, H, W) -> probabilities (N, K).
        face: uint8 (C, H, W), the network's input.
        step: distance of two squares as a share of the face's side; a larger one is faster and coarser.

    Returns:
        float32 (H, W), -1..1: for each pixel the mean fall in probability over the squares that hid it.
        Above 0 the pixel supports the answer, below 0 it opposes it.
    """
    _, height, width = face.shape
    side = max(1, round(PATCH * max(height, width)))
    stride = max(1, round(step * max(height, width)))
    # The first squares begin outside the face, so that several squares hide its border pixels, too.
    corners = [
        (top, left)
        for top in range(-side + stride, height, stride)
        for left in range(-side + stride, width, stride)
    ]
    gray = face.mean(axis=(1, 2)).round().astype(np.uint8)[:, None, None]
    probabilities_K = np.asarray(predict(face[None]), np.float64)[0]
    answer = int(probabilities_K.argmax())
    fallen, times = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(corners), _BATCH):
        covers = [
            np.s_[max(0, top) : top + side, max(0, left) : left + side]
            for top, left in corners[start : start + _BATCH]
        ]
        shown = np.repeat(face[None], len(covers), axis=0)
        for hidden, cover in zip(shown, covers, strict=True):
            hidden[:, *cover] = gray
        for cover, left_over in zip(covers, predict(shown)[:, answer], strict=True):
            fallen[cover] += probabilities_K[answer] - float(left_over)
            times[cover] += 1
    return (fallen / times).astype(np.float32)


def painted(face: NDArray[np.uint8], mattered: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour a face by its map: pixels for the answer red, those against it blue.

    Args:
        face: uint8 (C, H, W), the network's input.
        mattered: float32 (H, W), the map that `hidden_parts` computes.

    Returns:
        uint8 RGB (H, W, 3).
    """
    strength = np.abs(mattered) / max(float(np.abs(mattered).max()), 1e-6)
    colour = np.where(mattered[..., None] > 0, FOR, AGAINST)
    gray = face.mean(axis=0)[..., None]
    share = STRONGEST * strength[..., None]
    painted_HWC: NDArray[np.uint8] = (gray * (1 - share) + colour * share).round().astype(np.uint8)
    return painted_HWC


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
