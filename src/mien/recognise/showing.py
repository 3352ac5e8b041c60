"""Results that show themselves: the picture that faces were found in, with the faces marked."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.decoding import MAX_PIXELS, Decoded
from mien.errors import InputError
from mien.recognise.draw import marked, write_picture
from mien.recognise.pictures import Picture, in_colour, read_photo
from mien.recognise.track import FaceLike

#: A notebook is shown no more pixels than this on the longer side.
_NOTEBOOK = 1200


class Explaining(Protocol):
    """Who found the faces of a picture and can be asked again: a `Recognizer`."""

    def explained(self, face: Any, origin: Origin) -> Any: ...


class Origin:
    """The picture that faces come from. It is read again when it is asked for: results stay small.

    A copy in another process, or a pickle, has no picture.
    """

    def __init__(
        self,
        picture: Picture,
        *,
        bgr: bool,
        max_pixels: int = MAX_PIXELS,
        recognizer: Explaining | None = None,
    ) -> None:
        """`recognizer`: who found the faces, where it can be asked again."""
        self.recognizer = recognizer
        #: What the recogniser finds when the first face is explained; it keeps it here for the others.
        self.seen: Any = None
        self._picture = picture
        self._bgr = bgr
        self._max_pixels = max_pixels

    def photo(self) -> Decoded:
        """The picture as it was read.

        Raises:
            InputError: for a file that is not there any more.
        """
        return read_photo(self._picture, bgr=self._bgr, max_pixels=self._max_pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def photo_of(origin: Origin | None) -> Decoded:
    """The picture; InputError where it was not kept."""
    if origin is None:
        raise InputError(
            "the picture is not kept with these faces; draw with mien.draw(picture, faces)"
        )
    return origin.photo()


class Shown:
    """A result with a picture and faces: for a terminal, a file, a window and a notebook."""

    origin: Origin | None

    def _faces(self) -> Sequence[FaceLike]:
        raise NotImplementedError

    def plot(self) -> NDArray[np.uint8]:
        """The picture with its faces marked: uint8 RGB (H, W, 3), as `mien.draw` makes it.

        Raises:
            InputError: where the picture is not there any more.
        """
        return marked(photo_of(self.origin), self._faces())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `plot()` as the name's suffix says (.png, .jpg); the path.

        Raises:
            InputError: where it cannot be written.
        """
        target = Path(path)
        write_picture(target, self.plot())
        return target

    def show(self) -> None:
        """Open `plot()` in the system's viewer; a notebook shows a result by itself."""
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
    """A copy of a picture with faces marked: uint8 RGB (H, W, 3).

    Args:
        picture: whatever `Recognizer.recognize` takes.
        faces: what it found there; faces followed in a video, too.
        bgr: the colours of an array are in OpenCV's order; the copy's are RGB all the same.

    Raises:
        InputError: for what is no picture.
    """
    return marked(read_photo(picture, bgr=bgr), faces)


def cut(photo: Decoded, box: Sequence[float], margin: float) -> NDArray[np.uint8]:
    """What lies in a box (x, y, width, height) of a photo and a margin around it: uint8 RGB (h, w, 3)."""
    if not margin >= 0:
        raise InputError(f"margin {margin}: a share of the box's sides, 0 or more")
    x, y, width, height = photo.read_part(box)
    more_x, more_y = margin * width, margin * height
    left, top = max(0, int(x - more_x)), max(0, int(y - more_y))
    right, bottom = int(np.ceil(x + width + more_x)), int(np.ceil(y + height + more_y))
    return np.array(
        in_colour(photo.pixels[top:bottom, left:right]), order="C"
    )  # a copy, never a view
