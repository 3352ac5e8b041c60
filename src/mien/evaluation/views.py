"""Test-time augmentation: average the probabilities of several views of the same face.

A view is a tuple of glances; a glance is the whole face or a crop, mirrored or not. Views share glances (`flip`
contains `none`), so each glance is predicted only once if several views are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, near_names

#: A function from faces, uint8 (B, C, H, W) of any size, to probabilities (B, K), rows summing to 1.
Predictor = Callable[[NDArray[np.uint8]], NDArray[np.floating]]

#: Positions of crops of 11/12 of the side, as shares of the free margin: (down, right).
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


@dataclass(frozen=True)
class Glance:
    """One way to look at a face: the whole face, or a crop of 11/12 of each side; mirrored or not.

    Attributes:
        corner: position of the crop as shares of the free margin (down, right); None for the whole face.
        mirrored: mirror the face left to right.

    >>> Glance(corner=(0, 1))(np.zeros((2, 1, 48, 48), np.uint8)).shape
    (2, 1, 44, 44)
    """

    corner: tuple[float, float] | None = None
    mirrored: bool = False

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crop and mirror faces, uint8 (B, C, H, W): contiguous uint8 (B, C, h, w); h, w = H, W without a corner."""
        if self.corner is not None:
            height, width = faces.shape[2:]
            h, w = crop_side(height), crop_side(width)
            top = round(self.corner[0] * (height - h))
            left = round(self.corner[1] * (width - w))
            faces = faces[:, :, top : top + h, left : left + w]
        if self.mirrored:
            faces = faces[..., ::-1]
        return np.ascontiguousarray(faces)


def crop_side(side: int) -> int:
    """The side of a crop, 11/12 of the face's side: 44 of 48 pixels."""
    return max(1, round(side * 11 / 12))


#: Name of a view, as in `--tta` -> its glances.
VIEWS: dict[str, tuple[Glance, ...]] = {
    "none": (Glance(),),
    "flip": (Glance(), Glance(mirrored=True)),
    # Four corners and the centre, and their mirrors (Krizhevsky et al. 2012, section 4.1).
    "ten": tuple(Glance(corner, mirrored) for mirrored in (False, True) for corner in _CORNERS),
}


def find_view(name: str) -> tuple[Glance, ...]:
    """The glances of a view.

    Raises:
        InputError: there is no such view; the message proposes similar names.
    """
    try:
        return VIEWS[name]
    except KeyError:
        raise InputError(f"unknown test-time view {name!r}: {near_names(name, VIEWS)}") from None


def look(
    predict: Predictor, faces: NDArray[np.uint8], views: Iterable[str]
) -> dict[str, NDArray[np.float32]]:
    """Compute the probabilities of a batch in several views; each glance is predicted only once.

    Args:
        predict: the predictor.
        faces: uint8 (B, C, H, W).
        views: names in VIEWS.

    Returns:
        Name of the view -> float32 (B, K), the mean over its glances.

    Raises:
        InputError: a view is unknown.
    """
    seen: dict[Glance, NDArray[np.float64]] = {}
    answers: dict[str, NDArray[np.float32]] = {}
    for name in views:
        glances = find_view(name)
        for glance in glances:
            if glance not in seen:
                seen[glance] = np.asarray(predict(glance(faces)), dtype=np.float64)
        mean = sum(seen[glance] for glance in glances) / len(glances)
        answers[name] = np.asarray(mean, dtype=np.float32)
    return answers
