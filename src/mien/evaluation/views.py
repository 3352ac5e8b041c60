"""Test-time views: the same face looked at in several ways, the probabilities averaged.

A view is a tuple of glances; a glance is one crop of the face, mirrored or not. Views share glances
(`flip` holds `none`), so whoever scores several views asks the predictor once for each glance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, near_names

#: uint8 (B, C, H, W) -> probabilities (B, K), rows summing to 1. It resizes any H and W itself.
Predictor = Callable[[NDArray[np.uint8]], NDArray[np.floating]]

#: Where a crop of 11/12 of the side begins, as a share of the free margin: (down, right).
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


@dataclass(frozen=True)
class Glance:
    """One way to look at a face: all of it or a crop of 11/12 of each side, mirrored or not."""

    corner: tuple[float, float] | None = None
    mirrored: bool = False

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (B, C, H, W) -> uint8 (B, C, h, w), contiguous; h, w = H, W without a corner."""
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
    """The side of a ten-crop's crop: 11/12 of the face's, so 44 of 48."""
    return max(1, round(side * 11 / 12))


#: Each view by name: what `--tta` takes.
VIEWS: dict[str, tuple[Glance, ...]] = {
    "none": (Glance(),),
    "flip": (Glance(), Glance(mirrored=True)),
    # Four corners and the centre, and their mirrors (Krizhevsky et al. 2012, section 4.1).
    "ten": tuple(Glance(corner, mirrored) for mirrored in (False, True) for corner in _CORNERS),
}


def find_view(name: str) -> tuple[Glance, ...]:
    """The glances of a view; InputError for an unknown name."""
    try:
        return VIEWS[name]
    except KeyError:
        raise InputError(f"unknown test-time view {name!r}: {near_names(name, VIEWS)}") from None


def look(
    predict: Predictor, faces: NDArray[np.uint8], views: Iterable[str]
) -> dict[str, NDArray[np.float32]]:
    """Probabilities of a batch in several views, each glance predicted once.

    Args:
        predict: the predictor.
        faces: uint8 (B, C, H, W).
        views: names in VIEWS.

    Returns:
        view name -> float32 (B, K), the mean over the view's glances.
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
