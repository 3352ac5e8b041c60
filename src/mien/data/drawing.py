"""Draw a synthetic face with Pillow from its parameters, then add light, blur and noise.

Coordinates are relative to the head: x to the right, y down, the origin between the ears; one unit is the
distance from there to the chin. Tones are 0 (black) to 255 (white).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from mien.data.face_parameters import FaceParameters

Points = NDArray[np.float64]
"""float64 (n, 2): x and y of a curve or an outline."""

#: Pictures are drawn this many times larger, then reduced, for smooth edges with integer arithmetic only.
_SUPERSAMPLING = 4


def draw_face(face: FaceParameters, size: int = 48) -> NDArray[np.uint8]:
    """Draw a face: gray, uint8 (size, size)."""
    easel = _Easel(face)
    _draw_hair_behind(easel)
    _draw_head(easel)
    _draw_nose(easel)
    if face.beard:
        _draw_beard(easel)
    _draw_mouth(easel)
    for side in (-1, 1):
        _draw_eye(easel, side)
        _draw_brow(easel, side)
    _draw_hair(easel)
    if face.glasses:
        _draw_glasses(easel)
    if face.hand is not None:
        _draw_hand(easel, face.hand)
    return _photograph(face, easel.paint(size * _SUPERSAMPLING).reduce(_SUPERSAMPLING))


class _Easel:
    """A canvas that takes shapes in the head's coordinates and projects them to pixels."""

    def __init__(self, face: FaceParameters) -> None:
        self.face = face
        self._shapes: list[tuple[Points, int, float]] = []

    def fill(self, outline: Points, tone: float, lift: float = 0.0) -> None:
        """Fill an outline on the head's surface, or `lift` units before it (behind it if negative)."""
        self._shapes.append((outline, round(min(max(tone, 0.0), 255.0)), lift))

    def stroke(self, curve: Points, width: float, tone: float, lift: float = 0.0) -> None:
        """Draw a curve like a brush stroke: `width` in the middle, a quarter of it at both ends."""
        along = np.empty_like(curve)
        along[1:-1] = curve[2:] - curve[:-2]
        along[0], along[-1] = curve[1] - curve[0], curve[-1] - curve[-2]
        across = along[:, ::-1] * (-0.5 * width, 0.5 * width)
        edge = across * (_taper(len(curve)) / np.hypot(along[:, :1], along[:, 1:]))
        self.fill(np.concatenate((curve + edge, (curve - edge)[::-1])), tone, lift)

    def paint(self, side: int) -> Image.Image:
        """Turn the head, project all collected shapes in one step and fill them: gray, `side` pixels square."""
        face = self.face
        points = np.concatenate([outline for outline, _, _ in self._shapes])
        ends = np.cumsum([len(outline) for outline, _, _ in self._shapes])
        lift = np.repeat([lift for _, _, lift in self._shapes], np.diff(ends, prepend=0))
        bulge = 1.0 - (points / (0.9, 1.2)) ** 2 @ (1.0, 1.0)
        depth = 0.7 * np.sqrt(np.maximum(bulge, 0.0)) + lift
        turn, sway = np.cos((face.yaw, face.pitch)), np.sin((face.yaw, face.pitch))
        cos, sin = np.cos(face.roll), np.sin(face.roll)
        roll = np.array(((cos, sin), (-sin, cos))) * face.scale
        placed = (points * turn + depth[:, None] * sway) @ roll + np.add(face.shift, (0.5, 0.53))
        # Rounded to whole pixels, so that rounding errors that differ between platforms change nothing.
        pixels = np.rint(placed * side).astype(np.int64)
        image = Image.new("L", (side, side), round(face.backdrop))
        draw = ImageDraw.Draw(image)
        for (_, tone, _), outline in zip(self._shapes, np.split(pixels, ends[:-1]), strict=True):
            draw.polygon(outline.ravel().tolist(), fill=tone)
        return image

    def tint(self, darkness: float) -> float:
        """The skin's tone, darkened: 0 leaves it unchanged, 1 makes it black."""
        return self.face.skin * (1.0 - darkness)


# Parameters of the points of a curve, the Lagrange polynomials of its three points, and the unit circle.
_T = np.linspace(0.0, 1.0, 13)[:, None]
_LAGRANGE = np.concatenate(
    (2 * (_T - 0.5) * (_T - 1), 4 * _T * (1 - _T), 2 * _T * (_T - 0.5)), axis=1
)
_ANGLES = np.linspace(0.0, 2 * np.pi, 33)[:-1]
_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=1)


@cache
def _taper(count: int) -> Points:
    """The width of a brush stroke along its `count` points, float64 (count, 1)."""
    return 0.25 + 0.75 * np.sin(np.linspace(0.0, np.pi, count))[:, None]


def _through(*points: tuple[float, float]) -> Points:
    """The parabola through three points: start, middle and end."""
    curve: Points = _LAGRANGE @ np.array(points)
    return curve


def _arch(
    left: tuple[float, float], middle: float, right: tuple[float, float], power: float = 2.0
) -> Points:
    """An arch from one corner to the other through the height `middle`; a larger `power` is flatter on top."""
    ends = (1 - _T) * left + _T * right
    rise = middle - 0.5 * (left[1] + right[1])
    return ends + (1.0 - np.abs(2 * _T - 1) ** power) * (0.0, rise)


def _between(upper: Points, lower: Points) -> Points:
    """The closed outline between two curves that run in the same direction."""
    return np.concatenate((upper, lower[::-1]))


def _outline(face: FaceParameters) -> Points:
    """The outline of the head, clockwise from the right: the chin after a quarter, the crown after three quarters."""
    below = np.maximum(_CIRCLE[:, 1], 0.0)
    x = face.width * _CIRCLE[:, 0] * (1.0 - face.jaw * below**2)
    return np.stack((x, _CIRCLE[:, 1] * (1.0 + 0.12 * face.unit(26) * below)), axis=1)


def _draw_hair_behind(easel: _Easel) -> None:
    face = easel.face
    if face.hair == "long":
        mane = _CIRCLE * (face.width * 1.22, 1.05) + (0.0, -0.08)
        mane[:, 1] *= np.where(mane[:, 1] > 0.1, 1.5, 1.0)
        easel.fill(mane, face.hair_tone * 0.85, lift=-0.3)
    if face.hair == "curly":
        for x, y in _CIRCLE[16::2] * (face.width * 1.02, 0.95) + (0.0, -0.1):
            easel.fill(_CIRCLE * 0.27 + (x, y), face.hair_tone, lift=-0.2)


def _draw_head(easel: _Easel) -> None:
    face = easel.face
    easel.fill(_CIRCLE * (1.35, 0.8) + (0.0, 1.9), face.clothes, lift=-0.35)
    easel.fill(_CIRCLE * (0.42, 0.8) + (0.0, 0.65), easel.tint(0.28), lift=-0.35)
    for side in (-1, 1):
        ear = (side * face.width, 0.02)
        easel.fill(_CIRCLE * (0.11, 0.2) + ear, easel.tint(0.12), lift=-0.1)
        easel.fill(_CIRCLE * (0.06, 0.12) + ear, easel.tint(0.3), lift=-0.1)
    easel.fill(_outline(face), face.skin)


def _draw_nose(easel: _Easel) -> None:
    face = easel.face
    wrinkle = face.unit(9)
    tip, wing = 0.26 - 0.05 * wrinkle, 0.12 * face.nose * (1 + 0.25 * wrinkle)
    shade = -1 if face.light[0] > 0 else 1
    flank = np.array(((0.03 * shade, -0.1), (0.04 * shade, tip), (wing * shade, tip)))
    easel.fill(flank, easel.tint(0.14), lift=0.1)
    wings = _through((-wing, tip - 0.03), (0.0, tip + 0.06), (wing, tip - 0.03))
    easel.stroke(wings, 0.05, easel.tint(0.45), lift=0.1)
    for side in (-1, 1):
        crease = _through((side * 0.03, 0.0), (side * 0.08, -0.04), (side * 0.15, -0.07))
        for row in (0.0, 0.07):
            easel.stroke(np.add(crease, (0.0, row)), 0.035, easel.tint(0.45 * wrinkle))
        fold = max(face.unit(12, side), 0.8 * face.unit(10, side), 0.7 * wrinkle)
        cheek = _through((side * 0.2, 0.2), (side * 0.36, 0.32), (side * 0.44, 0.5))
        easel.stroke(cheek, 0.04, easel.tint(0.35 * fold))


def _draw_beard(easel: _Easel) -> None:
    face = easel.face
    jaw = _outline(face)[:17]
    cheeks = _arch((face.width * 0.92, 0.05), 0.46, (-face.width * 0.92, 0.05), 2.2)
    easel.fill(_between(jaw, cheeks), face.beard_tone)


def _draw_mouth(easel: _Easel) -> None:
    face = easel.face
    jaw, stretch, tight = face.unit(26), face.unit(20), face.unit(23)
    smile, bare = face.unit(12), max(face.unit(10), 0.5 * face.unit(9))
    width = 0.29 * face.mouth * (1 + 0.35 * smile + 0.35 * stretch - 0.2 * tight - 0.25 * jaw)
    middle = 0.56 - 0.05 * face.unit(17)
    upper = middle - 0.05 * bare - 0.03 * jaw
    parted = 0.1 * face.unit(25) + 0.28 * jaw + 0.12 * face.unit(16)
    lower = max(upper, middle) + parted
    rest = middle + 0.3 * (lower - upper) + 0.02 * stretch
    left, right = (
        (side * width, rest - 0.15 * face.unit(12, side) + 0.14 * face.unit(15, side))
        for side in (-1, 1)
    )
    top = _arch(left, upper + 0.03 * smile, right, 2 + jaw)
    bottom = _arch(left, lower + 0.03 * smile, right, 2 + jaw)
    full = 0.07 * face.lips * (1 - 0.65 * tight - 0.3 * smile)
    swell = np.sin(np.pi * _T)
    bow = swell * (1.0 - 0.25 * np.exp(-(((_T - 0.5) / 0.1) ** 2)))
    lip = easel.tint(0.3)
    easel.fill(_between(top - bow * (0.0, full), bottom + swell * (0.0, 1.3 * full)), lip)
    if parted > 0.03:
        easel.fill(_between(top, bottom), 25.0)
        teeth = 0.09 * min(1.0, smile + stretch + bare + face.unit(25))
        edge = np.stack((top[:, 0], np.minimum(top[:, 1] + teeth, bottom[:, 1])), axis=1)
        easel.fill(_between(top, edge), 215.0)
        gums = 0.07 * face.unit(16)
        edge = np.stack((top[:, 0], np.maximum(bottom[:, 1] - gums, top[:, 1])), axis=1)
        easel.fill(_between(edge, bottom), 200.0)
    else:
        easel.stroke(bottom, 0.04, easel.tint(0.65))
    if face.beard:
        easel.stroke(top - (0.0, full + 0.03), 0.1, face.beard_tone)
    else:
        chin = _through((-0.14, lower + 0.19), (0.0, lower + 0.14), (0.14, lower + 0.19))
        easel.stroke(chin, 0.04, easel.tint(0.1 + 0.3 * face.unit(17)))


def _draw_eye(easel: _Easel, side: int) -> None:
    face = easel.face
    wide, tight, cheek = face.unit(5, side), face.unit(7, side), face.unit(6, side)
    x, y, half = side * 0.35, -0.1, 0.165 * face.eye
    rise = 0.095 * face.eye * (1 - face.droop) * (1 + 0.8 * wide - 0.35 * tight - 0.25 * cheek)
    fall = 0.06 * face.eye * (1 + 0.25 * wide - 0.7 * tight - 1.3 * cheek)
    rise = max(rise, 0.015 - fall)
    upper = _arch((x - half, y), y - rise, (x + half, y), 2.4)
    lower = _arch((x - half, y), y + fall, (x + half, y), 2.4)
    easel.fill(_between(upper, lower), 0.35 * face.skin + 150.0)
    iris = _CIRCLE * 0.08 + (x + 0.05 * face.gaze[0], y - 0.01 + 0.03 * face.gaze[1])
    lids = (np.interp(iris[:, 0], upper[:, 0], curve[:, 1]) for curve in (upper, lower))
    iris[:, 1] = np.clip(iris[:, 1], *lids)
    easel.fill(iris, 30.0)
    if rise + fall > 0.06:
        glint = (iris[:, 0].mean() + 0.03 * np.sign(face.light[0]), y - 0.5 * rise)
        easel.fill(_CIRCLE[::4] * 0.02 + glint, 250.0)
    easel.stroke(upper, 0.04, easel.tint(0.75))
    easel.stroke(lower, 0.02, easel.tint(0.35))
    pouch = _through((x - half, y + 0.06), (x, y + fall + 0.09), (x + half, y + 0.06))
    easel.stroke(pouch, 0.025, easel.tint(0.12 + 0.3 * cheek))


def _draw_brow(easel: _Easel, side: int) -> None:
    face = easel.face
    inner_up, outer_up = face.unit(1, side), face.unit(2, side)
    frown = face.unit(4, side) + 0.5 * face.unit(9, side)
    # If the inner ends are raised, a frown only draws the brows together: the slanted brows of grief.
    lowered = frown * (1 - 0.7 * min(inner_up, 1.0))
    inner = (side * (0.15 - 0.05 * frown), -0.31 - 0.15 * inner_up + 0.12 * lowered)
    arch = (side * 0.34, -0.36 - 0.07 * inner_up - 0.11 * outer_up + 0.09 * lowered)
    outer = (side * 0.56, -0.29 - 0.13 * outer_up + 0.02 * lowered + 0.03 * frown)
    easel.stroke(_through(inner, arch, outer), 2 * face.brow, face.brow_tone)
    furrow = _through((side * 0.06, -0.36), (side * 0.05, -0.28), (side * 0.07, -0.2))
    easel.stroke(furrow, 0.03, easel.tint(min(0.5 * frown, 0.6)))


def _draw_hair(easel: _Easel) -> None:
    face = easel.face
    if face.hair == "bald":
        return
    line, part, volume = {
        "cropped": (-0.68, 0.0, 1.04),
        "parted": (-0.62, 0.14, 1.12),
        "fringe": (-0.46, 0.0, 1.14),
        "long": (-0.62, -0.14, 1.1),
        "curly": (-0.62, 0.0, 1.08),
    }[face.hair]
    crown = _outline(face)[16:] * volume
    left, right = (-face.width * 0.99, -0.12), (face.width * 0.99, -0.12)
    hairline = _arch(left, line, right, 5)
    hairline[:, 1] += part * np.sin(2 * np.pi * _T[:, 0])
    easel.fill(_between(crown, hairline), face.hair_tone)
    for strand in (0.35, 0.6, 0.85):
        path = crown[1:-3] * (1 - 0.13 * strand) + (0.05 * strand, 0.02)
        easel.stroke(path[:13], 0.03, face.hair_tone + 20.0 * strand)


def _draw_glasses(easel: _Easel) -> None:
    for side in (-1, 1):
        rim = _CIRCLE * (0.22, 0.19) + (side * 0.35, -0.08)
        easel.stroke(np.concatenate((rim, rim[:1])), 0.05, 30.0, lift=0.1)
        temple = _through((side * 0.57, -0.1), (side * 0.68, -0.1), (side * 0.8, -0.08))
        easel.stroke(temple, 0.04, 30.0)
    easel.stroke(_through((-0.14, -0.1), (0.0, -0.14), (0.14, -0.1)), 0.045, 30.0, lift=0.1)


def _draw_hand(easel: _Easel, place: tuple[float, float]) -> None:
    x, y = place
    side = 1 if x > 0 else -1
    for finger in range(4):
        root = (x + side * (0.1 + 0.05 * finger), y + 0.5)
        tip = (x - side * (0.25 - 0.16 * finger), y - 0.2 + 0.04 * finger)
        middle = ((root[0] + tip[0]) / 2 + side * 0.04, (root[1] + tip[1]) / 2)
        easel.stroke(_through(root, middle, tip), 0.2, easel.tint(0.3), lift=0.2)
        easel.stroke(_through(root, middle, tip), 0.15, easel.tint(0.05), lift=0.2)


def _photograph(face: FaceParameters, image: Image.Image) -> NDArray[np.uint8]:
    """Blur a drawing, light it as if the head were round, and add noise: uint8 (H, W)."""
    size = image.width
    blurred = image.filter(ImageFilter.GaussianBlur(face.blur * size / 48))
    axis = (np.arange(size) + 0.5) / size - 0.5
    across = np.clip((axis - face.shift[0]) / (2 * face.scale), -0.6, 0.6)[None, :]
    down = np.clip((axis - face.shift[1]) / (2.4 * face.scale), -0.6, 0.6)[:, None]
    shade = 1.05 - 0.6 * (across**2 + down**2) + face.light[0] * across + face.light[1] * down
    noise = np.random.default_rng(face.grain).normal(0.0, face.noise, (size, size))
    exposed = np.asarray(blurred, dtype=np.float64) * shade * face.gain + noise
    return np.rint(np.clip(exposed, 0.0, 255.0)).astype(np.uint8)
