"""Broken pictures: whatever happens to their bytes, an answer or one sentence, soon, in little memory."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image
from stand_in import photo

from mien.errors import InputError
from mien.recognise.faces import YuNet
from mien.recognise.pictures import read_picture

MAX_PIXELS = 500_000
SECONDS = 20


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def seeds() -> dict[str, bytes]:
    """A real photo, small, in every format and in the kinds that take their own ways through a decoder."""
    face = Image.open(photo()).convert("RGB").resize((96, 112))
    gray = face.convert("L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    half = face.copy()
    half.putalpha(gray)
    return {
        "jpeg": encoded(face, "jpeg", exif=exif),
        "jpeg, progressive": encoded(face, "jpeg", progressive=True),
        "jpeg, cmyk": encoded(face.convert("CMYK"), "jpeg"),
        "png": encoded(face, "png", exif=exif),
        "png, palette": encoded(face.quantize(40), "png"),
        "png, alpha": encoded(half, "png"),
        "png, 16 bits": encoded(deep, "png"),
        "webp": encoded(face, "webp", exif=exif),
        "webp, lossless alpha": encoded(half, "webp", lossless=True),
        "gif": encoded(face, "gif", save_all=True, append_images=[face.rotate(90)]),
        "bmp": encoded(face, "bmp"),
        "tiff": encoded(face, "tiff", exif=exif),
        "tiff, lzw": encoded(gray, "tiff", compression="tiff_lzw"),
        "tiff, jpeg": encoded(face, "tiff", compression="jpeg"),
        "ppm": encoded(face, "ppm"),
    }


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut, put in, moved, or made extreme; headers more often than pixels."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        if not changed:
            break
        reach = len(changed) if rng.random() < 0.5 else min(len(changed), 200)
        at = int(rng.integers(reach))
        length = int(rng.integers(1, 9))
        match rng.integers(7):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at : at + length] = rng.bytes(length)
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + length * 10]
            case 4:
                changed[at:at] = rng.bytes(length * 10)
            case 5:
                extreme = (0, 1, 0x7F, 0x80, 0xFF)[int(rng.integers(5))]
                changed[at : at + length] = bytes([extreme]) * length
            case 6:
                other = int(rng.integers(len(changed)))
                changed[at:at] = changed[other : other + length * 20]
    return bytes(changed)


def fuzz(cases: int, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    kinds = list(seeds().values())
    detect = YuNet()
    counts = {"read": 0, "refused": 0}
    for number in range(cases):
        data = mutated(kinds[number % len(kinds)], rng)
        started = time.process_time()
        try:
            picture = read_picture(data, max_pixels=MAX_PIXELS)
        except InputError as error:
            counts["refused"] += "\n" not in str(error)
        else:
            assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
            assert 0 < picture.shape[0] * picture.shape[1] <= MAX_PIXELS, (seed, number)
            counts["read"] += 1
            if number % 20 == 0:
                detect(picture)
        assert time.process_time() - started < SECONDS, (seed, number)
    assert sum(counts.values()) == cases  # each refusal was one sentence
    return counts


def test_the_seeds_are_whole() -> None:
    for name, data in seeds().items():
        turned = name in ("jpeg", "png", "webp", "tiff")
        assert read_picture(data).shape == ((96, 112, 3) if turned else (112, 96, 3)), name


def test_hundreds_of_broken_pictures_are_read_or_refused() -> None:
    counts = fuzz(600, seed=1)

    assert min(counts.values()) > 100  # both ways are taken


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_ten_thousand_broken_pictures_are_read_or_refused(seed: int) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert min(fuzz(1000, seed).values()) > 100

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # KB on Linux
