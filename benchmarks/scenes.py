"""Made films of people, for benchmarks that anybody can run: no film's licence is asked for.

The face is that of `grace_hopper.jpg`, which comes with matplotlib (public domain). It is cut out with
soft edges and pasted as often as asked: each copy goes to and fro by up to a third of its size, comes
nearer and leaves by a sixth, nods by up to eight degrees, brightens and darkens, with periods of 3 to 7
seconds. Behind them a landscape of smooth colours drifts by.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.recognise.pictures import read_picture
from mien.recognise.video_writer import VideoWriter

#: Middle of the face in the photo, and half the side of what is cut out around it: all of the head.
MIDDLE, REACH = (268, 215), 175
#: Pixels by which the background moves to each side.
DRIFT = 100


def portrait() -> NDArray[np.uint8]:
    """Grace Hopper, uint8 RGB (600, 512, 3)."""
    import matplotlib

    return read_picture(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")


def head() -> NDArray[np.float32]:
    """The head, float32 RGB and opacity (0..1) in the fourth channel, fading out towards its edge."""
    (x, y), reach = MIDDLE, REACH
    cut = portrait()[y - reach : y + reach, x - reach : x + reach].astype(np.float32)
    rows, columns = np.mgrid[-1 : 1 : 2j * reach, -1 : 1 : 2j * reach]
    away = np.hypot(rows * 0.98, columns * 1.15)
    return np.dstack([cut, ((1 - away) / 0.15).clip(0, 1)]).astype(np.float32)


def landscape(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Large patches of colour with smaller and smaller ones on them, as textures have: (H, W, 3)."""
    layers = [
        cv2.resize(
            rng.uniform(-1, 1, (cells, 2 * cells, 3)).astype(np.float32),
            size,
            interpolation=cv2.INTER_CUBIC,
        )
        for cells in (4, 40, 200)
    ]
    return 120 + 70 * layers[0] + 15 * layers[1] + 10 * layers[2]


class Scene:
    """Some people before a background; `scene(3.5)` is its picture at 3.5 seconds."""

    def __init__(self, people: int, size: tuple[int, int] = (1280, 720)) -> None:
        """`size` is (width, height)."""
        self._size = size
        width, height = size
        columns = math.ceil(math.sqrt(people * width / height))
        rows = math.ceil(people / columns)
        cell = min(width / columns, height / rows)
        self._side = 0.62 * cell
        self._homes = [
            (width * (place % columns + 0.5) / columns, height * (place // columns + 0.5) / rows)
            for place in range(people)
        ]
        self._head = head()
        self._landscape = landscape((width + 2 * DRIFT, height), np.random.default_rng(people))

    def __call__(self, time_s: float) -> NDArray[np.uint8]:
        """uint8 RGB (H, W, 3)."""
        drift = round(DRIFT * (1 + math.sin(time_s / 3)))
        picture = self._landscape[:, drift : drift + self._size[0]].copy()
        for number, home in enumerate(self._homes):
            self._paste(picture, number, home, time_s)
        return picture.clip(0, 255).round().astype(np.uint8)

    def _paste(
        self,
        picture: NDArray[np.float32],
        number: int,
        home: tuple[float, float],
        time_s: float,
    ) -> None:
        def wave(period_s: float) -> float:
            return math.sin(2 * math.pi * time_s / (period_s + 0.13 * number) + number)

        side = self._side * (1 + wave(7) / 6)
        middle = np.array(home) + self._side * np.array([wave(5) / 3, wave(3) / 8])
        corner = np.floor(middle - side).astype(int)
        room = math.ceil(2 * side) + 1
        matrix = cv2.getRotationMatrix2D((REACH, REACH), 8 * wave(4), side / (2 * REACH))
        matrix[:, 2] += middle - corner - REACH
        pasted = cv2.warpAffine(self._head, matrix, (room, room), flags=cv2.INTER_AREA)
        first = np.maximum(corner, 0)
        last = np.minimum(corner + room, self._size)
        seen = pasted[
            first[1] - corner[1] : last[1] - corner[1], first[0] - corner[0] : last[0] - corner[0]
        ]
        opacity = seen[..., 3:]
        into = picture[first[1] : last[1], first[0] : last[0]]
        into += opacity * ((0.9 + 0.1 * wave(6)) * seen[..., :3] - into)


def write_film(
    path: Path, people: int, seconds: float, *, size: tuple[int, int] = (1280, 720), rate: int = 30
) -> Path:
    """Write a scene as H.264."""
    scene = Scene(people, size)
    with VideoWriter(path, time_base=Fraction(1, rate)) as video:
        for index in range(round(seconds * rate)):
            video.write(scene(index / rate), index / rate)
    return path
