"""Which faces are found: by size, turn and light, in a crowd beside OpenCV's Haar cascade, and what it takes.

    python benchmarks/finder.py PHOTOS [--part found|crowd|time] [--most 100] [--rounds 6] [--threads 1]

PHOTOS is a folder with photos of one face each, in folders or not; those with one face by this finder count. Each is
put in the middle of a gray picture of 640 x 480 pixels, so large that its face has so many pixels on its longer side;
40 of them in one of 4000 x 3000 as well. `thorough` is what photos are looked at with, `once` what films are.

The crowd is 40 of them in rows in a picture of 6000 x 4000 pixels. The cascade is
`haarcascade_frontalface_default.xml` with steps of 1.1, 5 neighbours and 50 pixels at least.

Time is the best of several rounds, on `--threads` threads of a quiet machine, from a JPEG's bytes to faces; `before`
is OpenCV's own YuNet at 640 pixels of the longer side. Memory is the peak of a process of its own, with all it imports.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from parts import run_part
from PIL import Image
from scenes import portrait

from mien.allocator import peak_memory
from mien.recognise.pictures import read_photo, read_picture
from mien.recognise.recognizer import Recognizer
from mien.recognise.yunet import YuNet, yunet_model

Pixels: TypeAlias = NDArray[np.uint8]
SIZES = (10, 15, 20, 25, 30, 35, 40, 50, 60, 100)
LARGE_SIZES = (40, 50, 60, 75, 100)
TURNS = tuple(range(0, 181, 15))
LIGHTS = (1, 0.5, 0.25, 0.1, 0.05, 0.02)
CROWD = 40
CROWDS = (250, 200, 150, 110)
MEGAPIXELS = (0.3, 2, 3, 12, 24, 48, 108)
GROUND = (96, 110, 90)
#: Pixels of a face's longer side while it is turned and darkened.
USUAL = 120
Find: TypeAlias = Callable[[Pixels], object]


def faces_of(folder: Path, most: int) -> list[tuple[Pixels, float]]:
    """The first photos with one face, and the longer side of its box in pixels."""
    yunet, found = YuNet(threads=1), []
    for path in sorted(folder.rglob("*.jpg")):
        picture = read_picture(path)
        faces = yunet(picture)
        if len(faces) == 1 and faces[0].angle == 0:
            found.append((picture, max(faces[0].box[2:])))
        if len(found) == most:
            break
    return found


def resized(picture: Pixels, scale: float) -> Pixels:
    sides = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    kind = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize(tuple(sides), kind, reducing_gap=3))


def framed(
    picture: Pixels, side: float, pixels: int, frame: tuple[int, int] = (640, 480)
) -> Pixels:
    """A picture of the frame's size with a face of so many pixels in the middle of it."""
    canvas = Image.new("RGB", frame, GROUND)
    small = Image.fromarray(resized(picture, pixels / side))
    canvas.paste(small, ((frame[0] - small.width) // 2, (frame[1] - small.height) // 2))
    return np.asarray(canvas)


def turned(picture: Pixels, degrees: float) -> Pixels:
    return np.asarray(Image.fromarray(picture).rotate(degrees, fillcolor=GROUND, expand=True))


def shares(name: str, values: Sequence[float], shown: Callable[[float], Iterable[Pixels]]) -> None:
    """A table: the share of pictures in which one face is found."""
    print(f"\n| {name} | {' | '.join(f'{value:g}' for value in values)} |")
    print(f"|{'---|' * (1 + len(values))}")
    thorough = YuNet(threads=1)
    for title, find in (("thorough", thorough), ("once", thorough.for_films())):
        found = [np.mean([len(find(one)) == 1 for one in shown(value)]) for value in values]
        print(f"| {title}, % | {' | '.join(f'{100 * share:.0f}' for share in found)} |", flush=True)


def measure_found(folder: Path, most: int) -> None:
    """By size, by turn, by light."""
    faces = faces_of(folder, most)
    print(f"{len(faces)} photos with one face")
    shares("pixels of the face", SIZES, lambda size: (framed(*face, int(size)) for face in faces))
    shares(
        "pixels of the face in 12 megapixels",
        LARGE_SIZES,
        lambda size: (framed(*face, int(size), (4000, 3000)) for face in faces[:CROWD]),
    )
    usual = [framed(*face, USUAL) for face in faces]
    shares("degrees", TURNS, lambda turn: (turned(one, turn) for one in usual))
    shares("light", LIGHTS, lambda light: ((one * light).astype(np.uint8) for one in usual))


def measure_crowd(folder: Path) -> None:
    """40 faces in 24 megapixels."""
    faces = faces_of(folder, CROWD)
    yunet = YuNet(threads=1)
    haar = cv2.CascadeClassifier(
        str(Path(cv2.__file__).parent / "data/haarcascade_frontalface_default.xml")
    )
    print(
        "\n| pixels of a face | at 640, once | as it comes | size=2560 | Haar |\n|---|---|---|---|---|"
    )
    for pixels in CROWDS:
        canvas = Image.new("RGB", (6000, 4000), GROUND)
        for place, (picture, side) in enumerate(faces):
            row, column = divmod(place, 10)
            small = Image.fromarray(resized(picture, pixels / side))
            canvas.paste(small, (200 + column * 560, 500 + row * 800))
        seen = np.asarray(canvas)
        gray = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)
        found = [len(find(seen)) for find in (yunet.for_films(), yunet, yunet.with_size(2560))] + [
            len(haar.detectMultiScale(gray, 1.1, 5, minSize=(50, 50)))
        ]
        print(f"| {pixels} | {' | '.join(map(str, found))} |", flush=True)


def before() -> Find:
    """OpenCV's YuNet at 640 pixels of the longer side."""
    opened = cv2.FaceDetectorYN.create(
        "onnx", np.frombuffer(yunet_model(), np.uint8), np.empty(0, np.uint8), (64, 64), 0.7
    )

    def find(picture: Pixels) -> object:
        scale = min(1.0, 640 / max(picture.shape[:2]))
        sides = [max(64, round(side * scale)) for side in picture.shape[1::-1]]
        small = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        opened.setInputSize(small.shape[1::-1])
        return opened.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))

    return find


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """The shortest of several rounds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def measure_time(rounds: int, threads: int) -> None:
    """One photo of one face, by megapixels."""
    cv2.setNumThreads(threads)
    yunet = YuNet(threads=threads)
    finders = (before(), yunet.for_films(), yunet)
    columns = "decoding | before | once | thorough | thorough, no face | whole process, MB"
    print(f"\n| megapixels | {columns} |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for megapixels in MEGAPIXELS:
            path = Path(scratch) / f"{megapixels}.jpg"
            path.write_bytes(photo(megapixels))
            pixels = read_picture(path)
            times = [milliseconds(partial(read_photo, path), max(2, rounds // 3))]
            times += [milliseconds(partial(find, pixels), rounds) for find in finders]
            pixels = np.full_like(pixels, GROUND)
            times.append(milliseconds(partial(yunet, pixels), rounds))
            del pixels
            times.append(run_part(__file__, str(path), "--part", "memory")["megabytes"])
            print(f"| {megapixels} | {' | '.join(f'{one:.0f}' for one in times)} |", flush=True)


def photo(megapixels: float) -> bytes:
    """A JPEG of one face that takes a third of its height."""
    width = math.floor((megapixels * 1e6 * 4 / 3) ** 0.5)
    stream = io.BytesIO()
    Image.fromarray(portrait()).crop((56, 0, 456, 300)).resize((width, width * 3 // 4)).save(
        stream, "JPEG", quality=90
    )
    return stream.getvalue()


def measure_memory(path: Path) -> None:
    """What a process takes that recognises one file."""
    faces = len(Recognizer(threads=1).recognize(path))
    print(json.dumps({"faces": faces, "megabytes": peak_memory() / 1e6}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--part", choices=["found", "crowd", "time", "memory"])
    parser.add_argument("--most", type=int, default=100, help="photos that found looks at")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.part == "memory":
        measure_memory(options.photos)
    if options.part in ("found", None):
        measure_found(options.photos, options.most)
    if options.part in ("crowd", None):
        measure_crowd(options.photos)
    if options.part in ("time", None):
        measure_time(options.rounds, options.threads)


if __name__ == "__main__":
    main()
