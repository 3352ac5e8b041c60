"""Whole pictures of every kind, and what is left of them after an accident."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from stand_in import photo


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
