"""Encoded images to arrays, whatever they are encoded as."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from mien import decoding
from mien.data.reading import Damaged, reading
from mien.data.tree import Entry
from mien.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return name.lower().endswith(SUFFIXES)


def image_or_damage(entry: Entry) -> NDArray[np.uint8] | Damaged:
    """The image in a file, or why it cannot be read: one bad picture must not hide the next.

    InputError where it lies in an archive that is damaged itself, so that none after it can be read.
    """
    try:
        with reading(entry.where):
            return read_image(entry)
    except InputError as error:
        if entry.tree.is_stream and not isinstance(error, UndecodableError):
            raise
        return Damaged(entry.name, str(error))


class UndecodableError(InputError):
    """The bytes of a picture could be read, but are none."""


def read_image(entry: Entry) -> NDArray[np.uint8]:
    """The image in a file: see `decode`."""
    with entry.open() as stream:
        data = stream.read(decoding.MAX_BYTES + 1)
    return decode(data, entry.where)


def decode(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode an image upright: uint8 (H, W) where it has no colour, else RGB (H, W, 3).

    As `decoding.pixels_of` says. InputError naming `where` for an image that cannot be decoded or
    is absurdly large.
    """
    try:
        decoding.check_bytes(len(data), where)
        pixels = decoding.decode(io.BytesIO(data), where, max_pixels=decoding.MAX_PIXELS).pixels
    except InputError as error:
        raise UndecodableError(str(error)) from error
    return np.ascontiguousarray(pixels[..., 0]) if pixels.ndim == 3 and is_gray(pixels) else pixels


def is_gray(image: NDArray[np.uint8]) -> bool:
    """Whether an (H, W) or (H, W, 3) image has no colour."""
    return image.ndim == 2 or bool(
        (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
    )
