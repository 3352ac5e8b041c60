"""Small videos made for tests: a drawn face that moves, a tone beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (96, 64)  # width, height
FACE = 16
TIME_BASE = Fraction(1, 12_800)
SOUND_RATE = 16_000


def drawn(x: float, y: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture, uint8 RGB, dark gray with an orange face of FACE pixels, its corner at (x, y)."""
    picture = np.full((size[1], size[0], 3), 40, np.uint8)
    left, top = round(x), round(y)
    picture[top : top + FACE, left : left + FACE] = (230, 160, 60)
    return picture


def place(index: int, size: tuple[int, int] = SIZE) -> tuple[int, int]:
    """Where the face of frame `index` is: two pixels to the right in each, to and fro."""
    span = size[0] - FACE
    there = 2 * index % (2 * span)
    return (there if there <= span else 2 * span - there), (size[1] - FACE) // 2


@dataclass(frozen=True)
class Found:
    """A face as recognition gives it."""

    box: tuple[float, float, float, float]
    probabilities: dict[str, float]
    detection_score: float = 0.9

    @property
    def expression(self) -> str:
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        return self.probabilities[self.expression]

    doubt: str | None = None

    @property
    def why_uncertain(self) -> str | None:
        return self.doubt or ("probability" if self.probability < 0.4 else None)

    @property
    def uncertain(self) -> bool:
        return self.why_uncertain is not None


HAPPY = {"sad": 0.1, "happy": 0.7, "neutral": 0.2}
NAMES = tuple(HAPPY)


def find_drawn(picture: np.ndarray) -> list[Found]:
    """The drawn face of a picture, happy; none where there is none."""
    rows, columns = np.nonzero(picture[..., 0].astype(int) - picture[..., 2] > 80)
    if not len(rows):
        return []
    left, top = int(columns.min()), int(rows.min())
    box = (left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top)
    return [Found(tuple(float(side) for side in box), HAPPY)]


def write_video(
    path: Path,
    ticks: Sequence[int],
    *,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    sound: str | None = "aac",
    rotation: int | None = None,
    pictures: Iterator[np.ndarray] | None = None,
    options: dict[str, str] | None = None,
    **container: Any,
) -> Path:
    """Write a video whose frame i is shown from ticks[i] * TIME_BASE on, with a tone as long as it."""
    import av

    base = TIME_BASE if codec != "mpeg4" else Fraction(1, 25)
    with av.open(str(path), "w", **container) as file:
        video = file.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = base
        if rotation is not None:
            video.set_display_rotation(rotation)
        if sound:
            audio = file.add_stream(sound, rate=SOUND_RATE)
            audio.layout = "mono"
        for index, tick in enumerate(ticks):
            picture = next(pictures) if pictures else drawn(*place(index, size), size)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = tick, base
            file.mux(video.encode(frame))
        file.mux(video.encode())
        if sound:
            for start in range(0, int(float(ticks[-1] * base) * SOUND_RATE), 1024):
                wave = np.sin(np.arange(start, start + 1024) * 0.3) * 8000
                tone = av.AudioFrame.from_ndarray(
                    wave.astype(np.int16)[None], format="s16", layout="mono"
                )
                tone.sample_rate, tone.pts = SOUND_RATE, start
                tone.time_base = Fraction(1, SOUND_RATE)
                file.mux(audio.encode(tone))
            file.mux(audio.encode())
    return path


def sound_packets(path: Path) -> list[bytes]:
    """The encoded sound of a file, packet by packet."""
    import av

    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]
