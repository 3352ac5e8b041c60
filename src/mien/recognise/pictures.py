"""Reading pictures from files, bytes, data: URLs, Pillow images and arrays."""

from __future__ import annotations

import base64
import io
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.decoding import (
    MAX_PIXELS,
    Decoded,
    check_bytes,
    check_size,
    decode,
    decoding,
    eight_bits,
    pixels_of,
)
from mien.errors import InputError, reading_from
from mien.files import from_home
from mien.recognise.media import is_address, kind_of, not_downloaded

#: A picture: a path, a data: URL, the bytes of an encoded file, a Pillow image, an array, or the result of
#: `read_photo`.
Picture: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.generic] | Decoded

#: From the alphabet of URL-safe base64 (RFC 4648, section 5) to the standard one.
_USUAL = str.maketrans("-_", "+/")
#: A Pillow image decodes itself at its first use, which is not thread-safe.
_ONE_AT_A_TIME = threading.Lock()


def read_picture(
    source: Picture, *, bgr: bool = False, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read a picture as a viewer shows it: uint8 RGB (H, W, 3).

    The same picture as a file, its bytes, a Pillow image or an array gives a bit-identical array. EXIF
    orientation is applied, transparency is blended on white, and more than 8 bits are reduced to 8 by
    the range in use (8, 10, 12, 14 or 16 bits); of a colour file with 16 bits the upper 8 count, as in a
    viewer. Floats are refused: they have no agreed black and white. Gray, palettes and CMYK become RGB;
    an animation gives its first frame. JPEGs of more than 30 megapixels are decoded at a half or a quarter
    of their size; `read_photo` also gives the original size.

    Args:
        source: a path, a data: URL, the bytes of a file, a Pillow image, or an array: integers of 8
            to 16 bits, (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA; a fourth channel of only zeros
            is ignored (BGRX of screenshots). The result may share memory with an array.
        bgr: an array's colours are in OpenCV's order (BGR, BGRA); ignored for other sources.
        max_pixels: larger pictures are refused before they are decoded; JPEGs that can be decoded at a
            reduced size may have four times as many.

    Raises:
        InputError: the source is not a picture, is truncated, or has no or too many pixels.

    >>> import numpy as np
    >>> read_picture(np.zeros((48, 64), np.uint8)).shape
    (48, 64, 3)
    """
    return in_colour(read_photo(source, bgr=bgr, max_pixels=max_pixels).pixels)


def in_colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert gray to RGB: uint8 (H, W) or RGB (H, W, 3) -> RGB (H, W, 3)."""
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def read_photo(source: Picture, *, bgr: bool = False, max_pixels: int = MAX_PIXELS) -> Decoded:
    """The same as `read_picture`, but with the picture's size in its file, and gray pictures stay gray, (H, W).

    A source that is `Decoded` already is returned unchanged.

    Raises:
        InputError: as `read_picture`.
    """
    if isinstance(source, Decoded):
        return source
    if isinstance(source, np.ndarray):
        return _whole(_from_array(source, bgr, max_pixels))
    if isinstance(source, Image.Image):
        where = str(getattr(source, "filename", "") or "the Pillow image")
        check_size(source.size, where, max_pixels)
        with decoding(where), _ONE_AT_A_TIME:
            return _whole(np.ascontiguousarray(pixels_of(source)))
    if isinstance(source, bytes):
        where = "the bytes given"
        if not source:
            raise InputError(f"{where}: they are empty; give the content of a picture's file")
        return _contiguous(decode(io.BytesIO(source), where, max_pixels=max_pixels))
    if isinstance(source, str):
        if is_data_url(source):
            content = from_base64(source, "the data: URL given")
            return _contiguous(
                decode(io.BytesIO(content), "the data: URL given", max_pixels=max_pixels)
            )
        if is_address(source):
            raise not_downloaded(source)
    if isinstance(source, str | os.PathLike):
        return _from_file(from_home(source), max_pixels)
    if source is None:
        raise InputError(
            "the picture is None, which cv2.imread returns for a file that it cannot read: check the "
            "path, or give the path itself"
        )
    remedy = "; give its content, .read()" if hasattr(source, "read") else ""
    raise InputError(
        f"a picture is a path, bytes, a Pillow image or an array, not {type(source).__name__}{remedy}"
    )


def from_base64(text: str, where: str) -> bytes:
    """Decode base64, bare or in a data: URL (RFC 2397), in one or several lines, in either alphabet.

    Padding may be missing unless the text has `+` or `/`: URL-safe base64 is mostly written without it.

    Args:
        text: the base64.
        where: its name in messages.

    Raises:
        InputError: it is not base64.
    """
    body = text
    if is_data_url(text):
        head, _, body = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise InputError(f"{where}: a data: URL without base64; encode the file again")
    body = "".join(body.split())
    if "+" not in body and "/" not in body:
        body = body.translate(_USUAL) + "=" * (-len(body) % 4)
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise InputError(
            f"{where}: not base64 (RFC 4648, with padding); encode the file again"
        ) from None


def data_url(pixels: NDArray[np.uint8]) -> str:
    """Encode a picture, uint8 (H, W) gray or RGB (H, W, 3), as a PNG in a data: URL."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def is_data_url(text: str) -> bool:
    """Whether a text is a data: URL, by its first letters.

    >>> is_data_url("data:image/png;base64,iVBORw0KGgo="), is_data_url("data/me.png")
    (True, False)
    """
    return text[:5].lower() == "data:"


def _whole(pixels: NDArray[np.uint8]) -> Decoded:
    return Decoded(pixels, (pixels.shape[1], pixels.shape[0]))


def _contiguous(decoded: Decoded) -> Decoded:
    return replace(decoded, pixels=np.ascontiguousarray(decoded.pixels))


def _from_file(path: Path, max_pixels: int) -> Decoded:
    where = str(path)
    with reading_from(where):
        about = path.stat()
        if path.exists() and not path.is_file():
            raise InputError(f"{where}: not a file; give the path of a picture")
        check_bytes(about.st_size, where)
        with path.open("rb") as stream:
            try:
                return _contiguous(decode(stream, where, max_pixels=max_pixels))
            except InputError as error:
                if kind_of(path) != "video":
                    raise
                raise InputError(
                    f"{where}: a film, not a picture; recognise it with mien.predict({where!r})"
                ) from error


def _from_array(array: NDArray[np.generic], bgr: bool, max_pixels: int) -> NDArray[np.uint8]:
    where = "the array given"
    channels = array.shape[2:]
    if array.ndim not in (2, 3) or channels not in ((), (1,), (3,), (4,)):
        raise InputError(
            f"{where}: of shape {array.shape}; a picture is (height, width), (height, width, 3) or "
            "(height, width, 4); several pictures go in a list"
        )
    check_size((array.shape[1], array.shape[0]), where, max_pixels)
    pixels: NDArray[Any] = array
    if pixels.dtype != np.uint8:
        try:
            pixels = eight_bits(pixels)
        except ValueError as error:
            raise InputError(f"{where}: of {array.dtype}: {error}") from None
    if bgr and channels in ((3,), (4,)):
        pixels = pixels[..., [2, 1, 0, *range(3, channels[0])]]
    if channels == (1,):
        pixels = pixels[..., 0]
    if channels == (4,):
        pixels = pixels_of(Image.fromarray(pixels))
    return np.ascontiguousarray(pixels)
