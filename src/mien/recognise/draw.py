"""Drawing results on pictures: a box around each face, with its expression and probability."""

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
from mien.recognise.track import FaceLike, TrackedFace, surely

if TYPE_CHECKING:
    from mien.recognise.detect import Box

Colour = tuple[int, int, int]
Frame = tuple[int, int, int, int]
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
#: Height of the letters as a share of the picture's shorter side, and at least in pixels.
_LETTERS, _SMALLEST = 1 / 28, 11
#: Height of a label, in units of its font size.
_LEADING = 1.35
#: Luminance of a background on which black and white text have the same contrast (WCAG 2.2: both 4.6).
_MIDDLE = 0.179
#: Width of a line as a share of the picture's shorter side.
_LINE = 1 / 130


def annotated(
    picture: NDArray[np.uint8], faces: Sequence[FaceLike], boxes: Sequence[Box] | None = None
) -> NDArray[np.uint8]:
    """Mark the faces of a picture on a copy of it.

    Each expression has its colour, and each label names it as well, for colour-blind people. An
    uncertain face has only the corners of its box and a question mark. Lines and text scale with the
    picture. Labels avoid each other, are shorter in a crowd, and cover the inside of a box only if
    there is no other place.

    Args:
        picture: uint8 RGB (H, W, 3).
        faces: faces in it.
        boxes: their boxes in pixels of this picture, if it was resized; by default the faces' own.

    Returns:
        uint8 RGB (H, W, 3).
    """
    image = Image.fromarray(picture)
    short = min(picture.shape[:2])
    line = max(2, round(_LINE * short))
    font = letters(image.size)
    # The largest faces last, so that the boxes of a crowd in the background do not cross theirs.
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


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write uint8 RGB (H, W, 3) atomically, in the format of the name's suffix.

    Raises:
        InputError: the suffix is of no format that Pillow writes, or the file cannot be written.
    """
    Image.init()
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise InputError(f"{path}: pictures cannot be written in this format; name it .png or .jpg")
    with atomic_file(path) as handle:
        Image.fromarray(picture).save(handle, format=kind, quality=95)


def marked(photo: Decoded, faces: Sequence[FaceLike]) -> NDArray[np.uint8]:
    """Apply `annotated` to a photo that may have been reduced; its faces are in pixels of its file."""
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
    """Draw a line with a thin black edge outside and a white one inside, visible on any background."""
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
    # Draw the whole frame, then put back the pixels between its corners.
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
    """The first place that overlaps neither label nor face, else no label, else the first one."""
    for taken in (labels + boxes, labels):
        for text, place in places:
            if not any(_overlap(place, other) for other in taken):
                return text, place
    return places[0]


def _places(
    face: FaceLike, frame: Frame, font: ImageFont.FreeTypeFont, size: tuple[int, int]
) -> list[tuple[str, Frame]]:
    """Candidate texts and places of a face's label, the best first: above the box, below it, inside."""
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
    """The texts that fit into the picture's width, with their widths; if none does, the first letters."""
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
    """The font of labels for a picture of `size` (width, height)."""
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
