"""Drawing what was recognised: a box around each face, its expression and probability beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from mien.colours import CYCLE
from mien.errors import InputError, MienError
from mien.files import atomic_file
from mien.recognise.track import FaceLike, TrackedFace

if TYPE_CHECKING:
    from mien.recognise.faces import Box

Colour = tuple[int, int, int]
Frame = tuple[int, int, int, int]
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
#: Height of the letters as a share of the picture's shorter side, and the fewest pixels to read them.
_LETTERS, _SMALLEST = 1 / 28, 11
#: Height of a label in heights of its letters.
_LEADING = 1.35
#: Where black and white letters stand out alike from their ground (WCAG 2.2: both contrasts are 4.6).
_MIDDLE = 0.179
#: Width of a line as a share of the picture's shorter side.
_LINE = 1 / 130


def annotated(picture: NDArray[np.uint8], faces: Sequence[FaceLike]) -> NDArray[np.uint8]:
    """A copy of a picture with its faces marked: uint8 RGB (H, W, 3) -> the same shape.

    Each expression has its colour, but nothing is told by colour alone: the label names it. Of an
    uncertain face only the corners are drawn, and its label has a question mark. Lines and letters
    grow with the picture. The inside of a box stays as it was, unless it leaves its label no other
    place; and so does all beyond line and label.
    """
    image = Image.fromarray(picture)
    short = min(picture.shape[:2])
    line = max(2, round(_LINE * short))
    # The largest faces last: their labels are not under the boxes of the crowd behind.
    for face in sorted(faces, key=lambda face: face.box[2] * face.box[3]):
        place = list(face.probabilities).index(face.expression)
        red, green, blue = ImageColor.getrgb(CYCLE[place % len(CYCLE)])[:3]
        frame = _frame(face.box, line)
        _draw_frame(image, frame, line, (red, green, blue), corners=face.uncertain)
        _draw_label(image, face, frame, max(_SMALLEST, _LETTERS * short), (red, green, blue))
    return np.asarray(image)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write uint8 RGB (H, W, 3) atomically, in the format that the name's suffix says."""
    Image.init()
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise InputError(f"{path}: pictures are not written as this; name it .png or .jpg")
    with atomic_file(path) as handle:
        Image.fromarray(picture).save(handle, format=kind, quality=95)


def _frame(box: Box, line: int) -> Frame:
    """The outermost pixels of the line around a box: left, top, right, bottom."""
    out = line + 2
    left, top = math.floor(box[0]) - out, math.floor(box[1]) - out
    return left, top, math.ceil(box[0] + box[2]) - 1 + out, math.ceil(box[1] + box[3]) - 1 + out


def _draw_frame(
    image: Image.Image, frame: Frame, line: int, colour: Colour, *, corners: bool
) -> None:
    """A line with a thin black edge outside and a white one inside, to stand out everywhere."""
    left, top, right, bottom = frame
    gaps = []
    if corners:
        third_x, third_y = (right - left) // 3, (bottom - top) // 3
        across = (left + third_x, right - third_x)
        along = (top + third_y, bottom - third_y)
        gaps = [
            (across[0], top, across[1], top + line + 2),
            (across[0], bottom - line - 1, across[1], bottom + 1),
            (left, along[0], left + line + 2, along[1]),
            (right - line - 1, along[0], right + 1, along[1]),
        ]
    before = [image.crop(gap) for gap in gaps]
    draw = ImageDraw.Draw(image)
    draw.rectangle(frame, outline=_BLACK, width=1)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=line)
    inmost = line + 1
    draw.rectangle(
        (left + inmost, top + inmost, right - inmost, bottom - inmost), outline=_WHITE, width=1
    )
    for gap, pixels in zip(gaps, before, strict=True):
        image.paste(pixels, gap[:2])


def _draw_label(
    image: Image.Image, face: FaceLike, frame: Frame, letters: float, colour: Colour
) -> None:
    """The expression on its colour: above the box, else below it, else inside."""
    text, font, width, height = _fitting(face, letters, image.width)
    left, top, _, bottom = frame
    x = min(max(left, 0), image.width - width)
    y = top - height
    if y < 0:
        y = bottom + 1
    if y + height > image.height:
        y = max(0, top)
    draw = ImageDraw.Draw(image)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    ink = _WHITE if _luminance(colour) < _MIDDLE else _BLACK
    draw.text((x + width / 2, y + height / 2), text, fill=ink, font=font, anchor="mm")


def _fitting(
    face: FaceLike, letters: float, room: int
) -> tuple[str, ImageFont.FreeTypeFont, int, int]:
    """The longest text that fits into the picture's width, its font, width and height."""
    doubt = "?" if face.uncertain else ""
    named = f"{face.expression}{doubt}"
    texts = [f"{named} {100 * face.probability:.0f} %", named]
    if isinstance(face, TrackedFace):
        texts.insert(0, f"{face.track_id}: {texts[0]}")
    texts += [f"{face.expression[:count]}{doubt}" for count in (4, 2, 1)]
    font = _font(round(letters))
    height = math.ceil(_LEADING * font.size)
    for text in texts:
        width = math.ceil(font.getlength(text) + 0.5 * font.size)
        if width <= room:
            break
    return text, font, min(width, room), height


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MienError("this Pillow has no FreeType to draw letters with; install its own wheel")
    return font


def _luminance(colour: Colour) -> float:
    """Relative luminance, 0..1 (WCAG 2.2)."""
    red, green, blue = (
        part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
