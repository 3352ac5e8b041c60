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

from mien.colours import colours_of
from mien.decoding import Decoded
from mien.errors import InputError, MienError
from mien.files import atomic_file
from mien.recognise.pictures import in_colour
from mien.recognise.track import FaceLike, TrackedFace

if TYPE_CHECKING:
    from mien.recognise.detect import Box

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


def annotated(
    picture: NDArray[np.uint8], faces: Sequence[FaceLike], boxes: Sequence[Box] | None = None
) -> NDArray[np.uint8]:
    """A copy of a picture with its faces marked: uint8 RGB (H, W, 3) -> the same shape.

    `boxes`: the faces' in this picture, if they are not their own.

    Each expression has its colour, but nothing is told by colour alone: the label names it. Of an
    uncertain face only the corners are drawn, and its label has a question mark. Lines and letters
    grow with the picture; labels keep off one another and are shorter in a crowd. The inside of a
    box stays as it was, unless labels have no other place; and so does all beyond line and label.
    """
    image = Image.fromarray(picture)
    short = min(picture.shape[:2])
    line = max(2, round(_LINE * short))
    font = letters(image.size)
    # The largest faces last: their lines are not under those of the crowd behind.
    placed = zip(faces, boxes or [face.box for face in faces], strict=True)
    marks = [
        (face, _frame(box, line), _colour(face))
        for face, box in sorted(placed, key=lambda one: one[1][2] * one[1][3])
    ]
    for face, frame, colour in marks:
        _draw_frame(image, frame, line, colour, corners=face.uncertain)
    labels: list[Frame] = []
    for face, frame, colour in reversed(marks):
        others = [other for _, other, _ in marks if other is not frame]
        text, place = _placed(_places(face, frame, font, image.size), labels, others)
        _draw_label(image, text, place, font, colour)
        labels.append(place)
    return np.asarray(image)


def surely(face: FaceLike) -> str:
    """A face's probability in whole percent; an uncertain one's is rounded down, never up to the limit.

    >>> from mien.recognise.track import TrackedFace
    >>> surely(TrackedFace(1, (0, 0, 9, 9), 0.9, "happy", 0.509, "probability", {"happy": 0.509}, None))
    '50 %'
    """
    percent = 100 * face.probability
    return f"{math.floor(percent) if face.uncertain else round(percent)} %"


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write uint8 RGB (H, W, 3) atomically, in the format that the name's suffix says."""
    Image.init()
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise InputError(f"{path}: pictures are not written as this; name it .png or .jpg")
    with atomic_file(path) as handle:
        Image.fromarray(picture).save(handle, format=kind, quality=95)


def marked(photo: Decoded, faces: Sequence[FaceLike]) -> NDArray[np.uint8]:
    """`annotated` of a photo as it was read; its faces are in pixels of its file."""
    boxes = [photo.read_part(face.box) for face in faces]
    return annotated(in_colour(photo.pixels), faces, boxes)


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
    image: Image.Image, text: str, place: Frame, font: ImageFont.FreeTypeFont, colour: Colour
) -> None:
    draw = ImageDraw.Draw(image)
    draw.rectangle(place, fill=colour)
    ink = _WHITE if _luminance(colour) < _MIDDLE else _BLACK
    left, top, right, bottom = place
    middle = ((left + right + 1) / 2, (top + bottom + 1) / 2)
    draw.text(middle, text, fill=ink, font=font, anchor="mm")


def _placed(
    places: list[tuple[str, Frame]], labels: list[Frame], boxes: list[Frame]
) -> tuple[str, Frame]:
    """The first place where no label is and no other face, else no label, else the first."""
    for taken in (labels + boxes, labels):
        for text, place in places:
            if not any(_overlap(place, other) for other in taken):
                return text, place
    return places[0]


def _places(
    face: FaceLike, frame: Frame, font: ImageFont.FreeTypeFont, size: tuple[int, int]
) -> list[tuple[str, Frame]]:
    """What a face's label may say and where, the best first: above the box, else below it, else inside."""
    room, floor = size
    left, top, _, bottom = frame
    height = math.ceil(_LEADING * font.size)
    outside = [y for y in (top - height, bottom + 1) if y >= 0 and y + height <= floor]
    texts = _fitting(face, font, room)
    places = []
    for rows in (outside, [max(0, min(top, floor - height))]):
        for text, width in texts:
            x = min(max(left, 0), room - width)
            places += [(text, (x, y, x + width - 1, y + height - 1)) for y in rows]
    return places


def _fitting(face: FaceLike, font: ImageFont.FreeTypeFont, room: int) -> list[tuple[str, int]]:
    """The texts that fit into the picture's width, with their widths; where none does, a few letters."""
    doubt = "?" if face.uncertain else ""
    named = f"{face.expression}{doubt}"
    texts = [f"{named} {surely(face)}", named]
    if isinstance(face, TrackedFace):
        texts = [f"{face.track_id}: {text}" for text in texts] + [named, f"{face.track_id}"]

    def width(text: str) -> int:
        return math.ceil(font.getlength(text) + 0.5 * font.size)

    fitting = [(text, width(text)) for text in texts if width(text) <= room]
    if fitting:
        return fitting
    shortest = [f"{face.expression[:count]}{doubt}" for count in (4, 2, 1)]
    text = next((text for text in shortest if width(text) <= room), shortest[-1])
    return [(text, min(width(text), room))]


def _overlap(one: Frame, other: Frame) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _colour(face: FaceLike) -> Colour:
    names = list(face.probabilities)
    red, green, blue = ImageColor.getrgb(colours_of(names)[names.index(face.expression)])[:3]
    return red, green, blue


def letters(size: tuple[int, int]) -> ImageFont.FreeTypeFont:
    """The font that suits a picture of (width, height)."""
    return _font(round(max(_SMALLEST, _LETTERS * min(size))))


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
