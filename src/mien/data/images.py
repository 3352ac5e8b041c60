"""Encoded images to arrays, whatever they are encoded as."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.data.reading import one_line
from mien.data.tree import Entry
from mien.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
MAX_PIXELS = 64 * 1024 * 1024
#: An encoded image larger than this is not a face: it is not even read.
MAX_BYTES = 256 * 1024 * 1024
_WHITE = (255, 255, 255, 255)
#: The usual formats by their first bytes: Pillow would try them one by one, which takes longer
#: than decoding a face does.
_FORMATS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"RIFF": "WEBP"}


def read_image(entry: Entry) -> NDArray[np.uint8]:
    """The image in a file: see `decode`."""
    with entry.open() as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(
            f"{entry.where}: absurdly large for a face (over {MAX_BYTES >> 20} MB); remove it"
        )
    return decode(data, entry.where)


def decode(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode an image upright: uint8 (H, W) where it has no colour, else RGB (H, W, 3).

    What a viewer would show: EXIF orientation honoured, palettes resolved, transparency laid on
    white, 16 bits brought to 8, CMYK turned to RGB; the first frame of several.
    InputError naming `where` for an image that cannot be decoded or is absurdly large.
    """
    if not data:
        raise InputError(f"{where}: the file is empty; copy it again or remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a broken EXIF tag does not make a face unreadable
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            formats = [name for magic, name in _FORMATS.items() if data.startswith(magic)]
            with Image.open(io.BytesIO(data), formats=formats or None) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
                return _upright(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"{where}: absurdly large for a face (the limit is {MAX_PIXELS >> 20} megapixels); "
            "make it smaller or remove it"
        ) from error
    except Exception as error:  # decoders of broken files raise nearly anything
        unknown = isinstance(error, UnidentifiedImageError)  # its text names an object of ours
        why = "of no known format" if unknown else one_line(error)
        raise InputError(
            f"{where}: cannot be decoded as an image ({why}); copy it again or remove it"
        ) from error


def _upright(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    pixels = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(pixels[..., 0]) if is_gray(pixels) else pixels


def _eight_bits(deep: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Integers of 16 bits (in whatever type they came) brought to 8."""
    if not np.issubdtype(deep.dtype, np.integer):
        raise ValueError("its values are not integers")
    wide = deep.astype(np.int64)
    if wide.min() < 0 or wide.max() > 0xFFFF:
        raise ValueError("its values have more than 16 bits")
    return (wide >> 8).astype(np.uint8)


def is_gray(image: NDArray[np.uint8]) -> bool:
    """Whether an (H, W) or (H, W, 3) image has no colour."""
    return image.ndim == 2 or bool(
        (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
    )
