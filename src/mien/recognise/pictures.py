"""A picture, whatever it comes as, as an RGB array."""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.decoding import check_size, decode, decoding, pixels_of
from mien.errors import InputError, reading_from

#: What a picture may come as: a path, an encoded file's bytes, a Pillow image, an array.
Picture: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.generic]

MAX_PIXELS = 50_000_000
#: The largest file that is read: 50 megapixels of 16 bits in four channels, not compressed.
MAX_BYTES = 400_000_000
_ADDRESS = re.compile(r"[a-z]{2,10}://", re.IGNORECASE)
#: A Pillow image decodes itself when first asked, which two threads must not do at once.
_ONE_AT_A_TIME = threading.Lock()


def read_picture(
    source: Picture, *, bgr: bool = False, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read a picture as a viewer shows it: uint8 RGB (H, W, 3).

    The same picture as a file, its bytes, a Pillow image or an array gives the same array to the
    last bit. EXIF orientation is honoured, transparency laid on white, 16 bits brought to 8; gray,
    palettes and CMYK become RGB; of an animation the first frame counts.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array: uint8 or uint16, (H, W) gray,
            (H, W, 3) RGB or (H, W, 4) RGBA. What is returned may share memory with it.
        bgr: the array's colours are in OpenCV's order (BGR, BGRA). Says nothing of other sources.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        InputError: for what is not a picture, is cut short, has no pixels or too many.
    """
    pixels = read_pixels(source, bgr=bgr, max_pixels=max_pixels)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def read_pixels(
    source: Picture, *, bgr: bool = False, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """`read_picture`, but a gray picture stays gray: contiguous uint8 (H, W) or RGB (H, W, 3)."""
    if isinstance(source, np.ndarray):
        return _from_array(source, bgr, max_pixels)
    if isinstance(source, Image.Image):
        where = str(getattr(source, "filename", "") or "the Pillow image")
        check_size(source.size, where, max_pixels)
        with decoding(where), _ONE_AT_A_TIME:
            return np.ascontiguousarray(pixels_of(source))
    if isinstance(source, bytes):
        where = "the bytes given"
        if not source:
            raise InputError(f"{where}: there are none; a picture has some")
        return np.ascontiguousarray(decode(io.BytesIO(source), where, max_pixels=max_pixels))
    if isinstance(source, str) and _ADDRESS.match(source):
        raise InputError(f"{source}: an address; pictures are not fetched: save it, give the file")
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source), max_pixels)
    if source is None:
        raise InputError(
            "the picture is None, which is OpenCV's answer to a file that it cannot read: check the "
            "path, or give the path instead of cv2.imread's answer"
        )
    raise InputError(
        f"a picture is a path, bytes, a Pillow image or an array, not {type(source).__name__}"
    )


def _from_file(path: Path, max_pixels: int) -> NDArray[np.uint8]:
    where = str(path)
    with reading_from(where):
        about = path.stat()
        if path.exists() and not path.is_file():
            raise InputError(f"{where}: not a file; give the path of a picture")
        if about.st_size > MAX_BYTES:
            raise InputError(f"{where}: over {MAX_BYTES / 1e6:.0f} MB, absurdly large; remove it")
        if about.st_size == 0:
            raise InputError(f"{where}: the file is empty; copy it again or remove it")
        with path.open("rb") as stream:
            return np.ascontiguousarray(decode(stream, where, max_pixels=max_pixels))


def _from_array(array: NDArray[np.generic], bgr: bool, max_pixels: int) -> NDArray[np.uint8]:
    where = "the array given"
    channels = array.shape[2:]
    if array.ndim not in (2, 3) or channels not in ((), (1,), (3,), (4,)):
        raise InputError(
            f"{where}: of shape {array.shape}; a picture is (height, width), (height, width, 3) or "
            "(height, width, 4); several pictures go in a list"
        )
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{where}: of {array.dtype}; a picture's values are uint8 (0..255) or uint16 (0..65535)"
        )
    check_size((array.shape[1], array.shape[0]), where, max_pixels)
    pixels: NDArray[Any] = array
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if bgr and channels in ((3,), (4,)):
        pixels = pixels[..., [2, 1, 0, *range(3, channels[0])]]
    if channels == (1,):
        pixels = pixels[..., 0]
    if channels == (4,):
        pixels = pixels_of(Image.fromarray(pixels))
    return np.ascontiguousarray(pixels)
