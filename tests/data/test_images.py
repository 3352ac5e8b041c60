"""Images decode to what a viewer shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from make_layouts import encoded
from PIL import Image

from mien.data.images import decode
from mien.errors import InputError

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.stack((GRAY, GRAY[::-1], 255 - GRAY), axis=-1)


def saved(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "gif", "ppm", "webp"])
def test_lossless_kinds_keep_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "webp" else {}

    assert (decode(encoded(GRAY, kind, **options), "x") == GRAY).all()
    if kind != "gif":
        assert (decode(encoded(COLOUR, kind, **options), "x") == COLOUR).all()


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned: shown 90 degrees clockwise

    turned = decode(saved(Image.fromarray(GRAY), exif=exif), "x")

    assert (turned == np.rot90(GRAY, -1)).all()


def test_palettes_are_resolved() -> None:
    palette = Image.fromarray(COLOUR).quantize(12, dither=Image.Dither.NONE)

    assert (decode(saved(palette), "x") == np.asarray(palette.convert("RGB"))).all()


@pytest.mark.parametrize(
    "mode",
    ["RGBA", "LA"],
)
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new(mode, (2, 1), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.putpixel((1, 0), (9, 9, 9, 255) if mode == "RGBA" else (9, 255))

    assert decode(saved(image), "x").tolist() == [[255, 9]]


def test_a_transparent_palette_colour_is_white() -> None:
    image = Image.fromarray(GRAY).convert("P")

    assert decode(saved(image, transparency=0), "x")[0, 0] == 255


def test_sixteen_bits_become_eight() -> None:
    deep = GRAY.astype(np.uint16) * 257

    assert (decode(saved(Image.fromarray(deep)), "x") == GRAY).all()


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(GRAY).convert("1", dither=Image.Dither.NONE)

    assert set(decode(saved(image), "x").ravel().tolist()) == {0, 255}


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))

    red = decode(saved(image, "jpeg", quality=100), "x")

    assert red.shape == (8, 8, 3)
    assert red[..., 0].min() > 240
    assert red[..., 1:].max() < 15


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]

    data = saved(frames[0], "gif", save_all=True, append_images=frames[1:])

    assert (decode(data, "x") == 10).all()


@pytest.mark.parametrize("value", [0.5, -1, 70_000])
def test_values_that_are_no_tones_are_refused(value: float) -> None:
    kind = np.float32 if isinstance(value, float) else np.int32
    data = saved(Image.fromarray(np.full((2, 2), value, kind)), "tiff")

    with pytest.raises(InputError, match=r"^face\.tiff: its values .*; scale them to 0\.\.255 and"):
        decode(data, "face.tiff")


def test_a_broken_exif_tag_does_not_matter() -> None:
    data = saved(Image.fromarray(GRAY), "jpeg", quality=100, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    assert decode(data, "x").shape == GRAY.shape
