"""Decode image files of any common format to arrays."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from mien import decoding
from mien.data.reading import Damaged, Sample, reading
from mien.data.store import TRAIN
from mien.data.tree import Entry
from mien.errors import InputError


def sample_or_damage(entry: Entry, row: str, label: int, split: int | None) -> Sample | Damaged:
    """Decode the image in a file, or return `Damaged` with the reason, so that reading can continue.

    Args:
        entry: the file.
        row, label, split: of the sample; a face without a split is for training.

    Raises:
        InputError: the file is in a damaged tar, so that no file after it can be read either.
    """
    try:
        with reading(entry.where):
            return Sample(row, label, TRAIN if split is None else split, read_image(entry))
    except InputError as error:
        if entry.tree.is_stream and not isinstance(error, UndecodableError):
            raise
        return Damaged(row, str(error))


class UndecodableError(InputError):
    """The bytes of a file could be read, but they are not a valid picture."""


def read_image(entry: Entry) -> NDArray[np.uint8]:
    """Decode the image in a file; see `decode` for the result and the errors."""
    with entry.open() as stream:
        data = stream.read(decoding.MAX_BYTES + 1)
    return decode(data, entry.where)


def decode(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode an image, turned upright: uint8 (H, W) if it has no colour, else RGB (H, W, 3).

    Args:
        data: the encoded image.
        where: the file, for messages.

    Raises:
        UndecodableError: the image cannot be decoded, or exceeds the limits of `mien.decoding`.
    """
    try:
        decoding.check_bytes(len(data), where)
        pixels = decoding.decode(io.BytesIO(data), where, max_pixels=decoding.MAX_PIXELS).pixels
    except InputError as error:
        raise UndecodableError(str(error)) from error
    return np.ascontiguousarray(pixels[..., 0]) if pixels.ndim == 3 and is_gray(pixels) else pixels


def is_gray(image: NDArray[np.uint8]) -> bool:
    """Whether an image, (H, W) or (H, W, 3), has no colour: all channels are equal."""
    return image.ndim == 2 or bool(
        (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
    )
