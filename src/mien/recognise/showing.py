"""Displaying results: the picture with its faces marked, for files, windows and notebooks."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.decoding import MAX_PIXELS, Decoded
from mien.errors import InputError
from mien.files import from_home, same_file
from mien.recognise.draw import marked, write_picture
from mien.recognise.pictures import Picture, in_colour, read_photo
from mien.recognise.track import FaceLike

#: Pixels of the longer side of a picture in a notebook, at most.
_NOTEBOOK = 1200


class Explaining(Protocol):
    """The interface of a `Recognizer` that can explain the faces that it found."""

    def explained(self, face: Any, origin: Origin) -> Any: ...


class Origin:
    """The picture of some faces. A file is read again when it is needed, so that results stay small.

    Pickling leaves the picture out: it becomes None, also in other processes.
    """

    def __init__(
        self,
        picture: Picture,
        *,
        bgr: bool,
        max_pixels: int = MAX_PIXELS,
        recognizer: Explaining | None = None,
    ) -> None:
        """`recognizer`: the one that found the faces, if it can explain them; the rest as `read_photo` takes it."""
        self.recognizer = recognizer
        #: What the recogniser finds when the first face is explained; it keeps it here for the others.
        self.seen: Any = None
        self._picture = picture
        self._bgr = bgr
        self._max_pixels = max_pixels

    def photo(self) -> Decoded:
        """Read the picture.

        Raises:
            InputError: its file is gone or changed to one that cannot be read.
        """
        return read_photo(self._picture, bgr=self._bgr, max_pixels=self._max_pixels)

    def is_at(self, path: Path) -> bool:
        """Whether the picture is a file, or a Pillow image that was opened from one, and is the one at this path."""
        picture = getattr(self._picture, "filename", self._picture)
        return isinstance(picture, str | os.PathLike) and same_file(path, from_home(picture))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def photo_of(origin: Origin | None) -> Decoded:
    """Read the picture of some faces.

    Raises:
        InputError: it was not kept, or its file is gone.
    """
    if origin is None:
        raise InputError(
            "the picture is not kept with these faces (of a long film, ask with stream=True); draw with "
            "mien.draw(picture, faces)"
        )
    return origin.photo()


class Shown:
    """Base of results with a picture and faces: display as an array, in a file, a window or a notebook."""

    origin: Origin | None

    def _faces(self) -> Sequence[FaceLike]:
        raise NotImplementedError

    def plot(self) -> NDArray[np.uint8]:
        """Draw the picture with its faces marked: uint8 RGB (H, W, 3), as `mien.draw` does.

        Raises:
            InputError: the picture was not kept, or its file is gone.
        """
        return marked(photo_of(self.origin), self._faces())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `plot()` to a file in the format of its suffix (.png, .jpg), and return its path.

        Raises:
            InputError: as `plot`; or the file cannot be written, or is the picture itself.
        """
        target = from_home(path)
        if self.origin is not None and self.origin.is_at(target):
            raise InputError(f"{target}: the copy would replace the photo; choose another name")
        write_picture(target, self.plot())
        return target

    def show(self) -> None:
        """Open `plot()` in the system's viewer. A notebook displays a result without it."""
        Image.fromarray(self.plot()).show()

    def _repr_png_(self) -> bytes | None:
        if self.origin is None:
            return None
        image = Image.fromarray(self.plot())
        image.thumbnail((_NOTEBOOK, _NOTEBOOK))
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()


def draw(picture: Picture, faces: Sequence[FaceLike], *, bgr: bool = False) -> NDArray[np.uint8]:
    """Mark faces on a copy of a picture: a box for each, with its expression and probability.

    Args:
        picture: a picture, as `Recognizer.recognize` takes it.
        faces: its faces, of a photo or of a video's frame.
        bgr: an array is in OpenCV's colour order (BGR); the copy is RGB in any case.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        InputError: `picture` is not a picture.
    """
    return marked(read_photo(picture, bgr=bgr), faces)


def cut(photo: Decoded, box: Sequence[float], margin: float) -> NDArray[np.uint8]:
    """Cut a box out of a photo, with a margin around it.

    Args:
        photo: the photo.
        box: (x, y, width, height) in pixels of the photo's file.
        margin: share of the box's width and height that is added on each side.

    Returns:
        uint8 RGB (h, w, 3), a copy; the part within the photo.

    Raises:
        InputError: the margin is below 0 or not a number.
    """
    if not 0 <= margin < math.inf:
        raise InputError(f"margin {margin}: a share of the box's sides, 0 or more")
    x, y, width, height = photo.read_part(box)
    more_x, more_y = margin * width, margin * height
    left, top = max(0, int(x - more_x)), max(0, int(y - more_y))
    right, bottom = int(np.ceil(x + width + more_x)), int(np.ceil(y + height + more_y))
    # A copy: a view would keep the whole photo in memory.
    return np.array(in_colour(photo.pixels[top:bottom, left:right]), order="C")
