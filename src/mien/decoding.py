"""Decoding pictures of all formats to upright pixels. Shared by training and recognition."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mien.errors import InputError, one_line

#: Accepted formats. Pillow reads more, some through other programs (EPS runs Ghostscript), which is not safe for
#: files from strangers.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
#: Suffixes of such files, and of HEIC, which needs a package.
_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pbm", ".pgm", ".ppm",
    ".pnm", ".avif", ".jp2", ".j2k", ".heic", ".heif",
)  # fmt: skip
#: The usual formats by their first bytes: otherwise Pillow tries all formats, which takes longer than decoding a
#: face.
_BY_FIRST_BYTES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"RIFF": "WEBP"}
#: First bytes of a HEIF file with a brand of HEVC pictures (ISO/IEC 23008-12, annex B), as telephones write them:
#: Pillow has no decoder for these.
_HEIC = re.compile(rb".{4}ftyp.{0,40}?(hei[cmsx]|hev[cmsx])", re.DOTALL)
#: A progressive JPEG has about ten scans, each as expensive as a whole picture; a hostile file has thousands.
_MAX_SCANS = 100
#: Most segments of a JPEG: each takes a microsecond to be looked at.
_MAX_PARTS = 100_000
#: Most scans of a JPEG that is not progressive: one for all channels, or one for each.
_ONE_SCAN_A_CHANNEL = 4
#: A marker of JPEG. After 0xFF, the excluded bytes are coded data, restart markers or padding.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_ORIENTATION = 0x0112
#: First bytes of TIFF, and its tags for what 0 means and for the kind of numbers (TIFF 6.0): gray of 16 bits with white
#: as 0, and signed bytes, are not converted by Pillow.
_TIFF = (b"II*\x00", b"MM\x00*")
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT, _SIGNED = 339, 2
#: EXIF orientation -> how to turn the pixels upright (EXIF 2.32, section 4.6.4).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE = (255, 255, 255, 255)
#: Limits of a picture's pixels, checked before decoding, and of a file's bytes, checked before reading: 50 megapixels
#: with four channels of 16 bits, uncompressed, fit.
MAX_PIXELS, MAX_BYTES = 50_000_000, 400_000_000
#: A JPEG of more pixels is decoded at a half, a quarter or an eighth of its size: enough to find faces of 2 % of its
#: longer side, in a third of the memory.
_ENOUGH = 30_000_000
#: A JPEG that can be decoded at a reduced size may have so many times the allowed pixels.
_REDUCED = 4
#: Two substitutes for the missing end of a JPEG: if both give the same pixels, all of the picture is there.
_FILLINGS = (b"\x00" * 64, b"\x5a\xa5" * 32)
#: Pixels that are converted at once, to save memory.
_STRIP = 2_000_000
#: Warning filters and Pillow's limit are global to the process, so only one thread at a time may change them.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    pixels: uint8, gray (H, W) or RGB (H, W, 3), upright.
    size: its (width, height) in the file; larger than `pixels` for very large JPEGs, which are decoded at a
        reduced size.
    more: more pictures follow in the file, which are not read: an animation, or pages.

    >>> Decoded(np.zeros((50, 100), np.uint8), size=(200, 100)).read_part((20, 20, 40, 40))
    (10.0, 10.0, 20.0, 20.0)
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    more: bool = False

    def read_part(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """Convert a box (x, y, width, height) from pixels of the file to `pixels`."""
        x, y, width, height = box
        across = self.pixels.shape[1] / self.size[0]
        down = self.pixels.shape[0] / self.size[1]
        return x * across, y * down, width * across, height * down


def decode(stream: IO[bytes], where: str, *, max_pixels: int) -> Decoded:
    """Decode the picture in a seekable stream, as `pixels_of` does.

    Args:
        stream: the encoded file.
        where: its name in messages.
        max_pixels: limit of its pixels; JPEGs that can be decoded at a reduced size may have four times as many.

    Raises:
        InputError: it is not a picture, is truncated, has no or too many pixels, or needs `pi-heif`.
    """
    start = stream.read(64)
    stream.seek(0)
    heic = bool(_HEIC.match(start))
    if heic:
        _know_heic(where)
    formats = [name for magic, name in _BY_FIRST_BYTES.items() if start.startswith(magic)]
    with decoding(where):
        try:
            with _quietly():
                image = Image.open(stream, formats=["HEIF"] if heic else formats or FORMATS)
        except UnidentifiedImageError:
            if start.startswith(_TIFF):
                raise _UnusualError(
                    "a TIFF that is damaged or of an unusual kind, such as float colours; save it as PNG"
                ) from None
            raise
        with image:
            size = image.size
            scans = _count_scans(stream, where) if image.format in ("JPEG", "MPO") else 0
            _limit(image, scans, where, max_pixels)
            try:
                pixels = pixels_of(image)
            except OSError:
                if image.format != "JPEG":
                    raise
                pixels = _without_end(stream, lambda again: _limit(again, scans, where, max_pixels))
            more = _has_more(image)
    # After a quarter turn (EXIF), the size in the file has to be exchanged as well.
    turned = (pixels.shape[1] > pixels.shape[0]) != (size[0] > size[1])
    return Decoded(pixels, size[::-1] if turned else size, more)


def _has_more(image: Image.Image) -> bool:
    """Whether more pictures follow the one that was loaded. Not of JPEGs: what follows there is the same picture."""
    try:
        return image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False)
    except Exception:  # of a damaged rest, decoders raise nearly anything
        return True


def _know_heic(where: str) -> None:
    """Register a HEIC decoder with Pillow. It is not a dependency of mien, as its wheel has LGPL 3 libraries."""
    try:
        import pi_heif
    except ModuleNotFoundError as error:
        raise InputError(
            f"{where}: a HEIC photo; `pip install pi-heif` reads these (LGPL 3), or convert it to JPEG"
        ) from error
    with _ONE_AT_A_TIME:
        pi_heif.register_heif_opener()


def _limit(image: Image.Image, scans: int, where: str, max_pixels: int) -> None:
    """Refuse a picture of too many pixels; set up a JPEG to be decoded at a reduced size instead.

    Not a progressive JPEG: its coefficients are kept in memory at full size. `scans` is 0 for other formats.
    """
    width, height = image.size
    enough = min(_ENOUGH, max_pixels)
    if 0 < scans <= _ONE_SCAN_A_CHANNEL and width * height > enough:
        check_size(image.size, where, _REDUCED * max_pixels)
        smaller = next(by for by in (2, 4, 8, 16) if width * height <= enough * by * by)
        image.draft(image.mode, (width // smaller, height // smaller))
    check_size(image.size, where, max_pixels)


def _without_end(stream: IO[bytes], limit: Callable[[Image.Image], None]) -> NDArray[np.uint8]:
    """Decode a truncated JPEG if only bytes after its picture are missing; raises OSError if pixels are missing."""
    stream.seek(0)
    data = stream.read().rstrip(b"\xff")
    pictures = []
    for filling in _FILLINGS:
        with _quietly():
            image = Image.open(io.BytesIO(data + filling + b"\xff\xd9"), formats=["JPEG"])
        with image:
            limit(image)
            pictures.append(pixels_of(image))
    if not np.array_equal(pictures[0], pictures[1]):
        raise OSError("image file is truncated")
    return pictures[0]


def is_image(name: str) -> bool:
    """Whether a file's name has the suffix of an image, for training and recognition alike."""
    return name.lower().endswith(_SUFFIXES)


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a Pillow image to pixels as a viewer shows them: uint8 (H, W) gray or (H, W, 3) RGB.

    EXIF orientation is applied, palettes are resolved, transparency is blended on white, 16 bits are reduced
    to 8, CMYK becomes RGB; an animation gives its first frame. A fourth channel of only zeros is ignored.

    Raises:
        Exception: any that Pillow raises for a broken picture; see `decoding`.
    """
    image.load()  # first: it turns a TIFF upright, and reads tags that are stored after the pixels
    turn = _TURNS.get(_orientation(image))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_gray_of(image))
    elif _tiff_tag(image, _SAMPLE_FORMAT) == _SIGNED:
        raise _UnusualError(
            "its values are signed bytes; scale them to 0..255 and convert to uint8"
        )
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "RGBA" and not image.getchannel("A").getbbox():
        # RGBX, as screenshots have it: as alpha it would hide everything.
        image = image.convert("RGB")
    # In strips: Pillow's pixels, a converted copy and the array at once would take three times the memory.
    height = max(1, _STRIP // image.width)
    if image.height <= height:
        return _plain(image)
    strips = (
        _plain(image.crop((0, top, image.width, min(top + height, image.height))))
        for top in range(0, image.height, height)
    )
    first = next(strips)
    pixels = np.empty((image.height, *first.shape[1:]), np.uint8)
    pixels[:height] = first
    for number, strip in enumerate(strips, 1):
        pixels[number * height : number * height + len(strip)] = strip
    return pixels


def _gray_of(image: Image.Image) -> NDArray[np.uint8]:
    """Convert an image of more than 8 bits, gray, to uint8 (H, W)."""
    deep = np.asarray(image)
    if image.mode.startswith("I;16") and _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        deep = 0xFFFF - deep
    try:
        return eight_bits(deep)
    except ValueError as error:
        raise _UnusualError(str(error)) from None


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    """The first value of a TIFF's tag; None for other formats."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) else value


def _plain(image: Image.Image) -> NDArray[np.uint8]:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


class _UnusualError(ValueError):
    """A picture is complete, but has values or a layout that are not read; the message has the remedy."""


@contextmanager
def decoding(where: str) -> Iterator[None]:
    """Turn exceptions of a picture's decoder into messages for users; `where` is the picture's name.

    Raises:
        InputError: for each exception.
    """
    try:
        yield
    except InputError:
        raise
    except _UnusualError as error:  # a fresh copy would not help
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # decoders raise nearly anything
        # Its text has the name of a Python object.
        unknown = isinstance(error, UnidentifiedImageError)
        why = "of no known format" if unknown else one_line(error)
        raise InputError(
            f"{where}: cannot be decoded as an image ({why}); copy it again or remove it"
        ) from error


def check_bytes(count: int, where: str) -> None:
    """Check the size of a file in bytes.

    Raises:
        InputError: it is 0 or more than `MAX_BYTES`.
    """
    if count > MAX_BYTES:
        raise InputError(f"{where}: absurdly large with over {MAX_BYTES / 1e6:g} MB; remove it")
    if not count:
        raise InputError(f"{where}: the file is empty; copy it again or remove it")


def check_size(size: tuple[int, int], where: str, max_pixels: int = MAX_PIXELS) -> None:
    """Check a picture's (width, height).

    Raises:
        InputError: it has no pixels, or more than `max_pixels`.
    """
    width, height = size
    if width * height > max_pixels:
        raise InputError(
            f"{where}: absurdly large with {width} x {height} pixels (the limit is "
            f"{max_pixels / 1e6:g} megapixels); make it smaller or remove it"
        )
    if width < 1 or height < 1:
        raise InputError(f"{where}: a picture of {width} x {height} pixels shows nothing")


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence Pillow's warnings (of broken EXIF tags) and its limit of pixels: `check_size` is ours."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> Any:
    try:
        with _quietly():
            return image.getexif().get(_ORIENTATION)
    except Exception:  # Pillow raises many kinds for a broken tag, which then counts as missing
        return None


def _count_scans(stream: IO[bytes], where: str) -> int:
    """Count the scans of a JPEG; raises InputError for more than `_MAX_SCANS`, which take minutes to decode."""
    here = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(here)
    scans = parts = position = 0
    while (marker := _MARKER.search(data, position)) and marker[1] != b"\xd9":  # end of image
        scans += marker[1] == b"\xda"
        parts += 1
        if parts > _MAX_PARTS:
            raise InputError(f"{where}: a JPEG of more than {_MAX_PARTS:,} parts; save it anew")
        position = marker.end()
        # All markers but "start of image" have a length: skip their content.
        if marker[1] != b"\xd8":
            position += int.from_bytes(data[position : position + 2])
    if scans > _MAX_SCANS:
        raise InputError(
            f"{where}: a JPEG of {scans:,} scans (the limit is {_MAX_SCANS}); save it anew"
        )
    return scans


def eight_bits(deep: NDArray[Any]) -> NDArray[np.uint8]:
    """Reduce integers of up to 16 bits to 8 bits.

    The number of bits in use is unknown: cameras with 10, 12 or 14 bits write 16-bit files. So it is taken as the
    smallest of 8, 10, 12, 14 and 16 that holds the largest value.

    Args:
        deep: integers 0..65535 of any dtype and shape.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: values are not integers, or out of range.

    >>> eight_bits(np.array([0, 1023])).tolist()
    [0, 255]
    """
    if not np.issubdtype(deep.dtype, np.integer):
        raise ValueError(
            "its values are not integers, so which is black and which is white is not known; "
            "scale them to 0..255 and convert to uint8"
        )
    most = int(deep.max(initial=0))
    if int(deep.min(initial=0)) < 0 or most > 0xFFFF:
        raise ValueError(
            f"its values go from {deep.min()} to {most}; scale them to 0..255 and convert to uint8"
        )
    bits = next(bits for bits in (8, 10, 12, 14, 16) if most < 1 << bits)
    return np.asarray(deep >> (bits - 8), np.uint8)
