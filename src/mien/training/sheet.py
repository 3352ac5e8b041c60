"""A picture of training faces as the network sees them: each unchanged, and beside it augmented views of it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mien.data.store import FaceView
from mien.recipe import Augment, Recipe
from mien.recognise.draw import write_picture
from mien.runs import RunFolder
from mien.training.augment import changed, draw_views
from mien.training.watch import Watcher

#: Number of faces (rows), and of augmented views of each.
_FACES, _VIEWS = 6, 9
#: Pixels between two pictures.
_GAP = 3


class SheetWatcher(Watcher):
    """Writes `training-faces.png` into the run folder: some training faces and augmented views of them."""

    def __init__(self, faces: FaceView) -> None:
        self._faces = faces

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        if not first_step:
            write_picture(run.path / "training-faces.png", augmented_sheet(self._faces, recipe))


def augmented_sheet(faces: FaceView, recipe: Recipe) -> NDArray[np.uint8]:
    """Draw some training faces with augmented views: uint8 RGB (H, W, 3).

    Each row is a face, evenly chosen from all, first without augmentation. Views have their own random generator, so
    that training is the same with and without this picture. Mixing of two faces (mixup, CutMix) is not shown.
    """
    pixels = torch.tensor(faces.evenly(_FACES).pixels())
    shown = pixels.repeat_interleave(_VIEWS, dim=0)
    views = draw_views(len(shown), torch.Generator().manual_seed(recipe.seed))
    with torch.no_grad():
        drawn = changed(shown, views, recipe.input, recipe.augment)
        plain = changed(pixels, views[: len(pixels)], recipe.input, Augment())
    rows = torch.cat([plain[:, None], drawn.reshape(len(pixels), _VIEWS, *drawn.shape[1:])], dim=1)
    levels = (rows.clamp(0, 1) * 255).round().to(torch.uint8)
    if levels.shape[2] == 1:
        levels = levels.expand(-1, -1, 3, -1, -1)
    padded = torch.nn.functional.pad(levels, (0, _GAP, 0, _GAP), value=255)
    n, v, c, h, w = padded.shape
    sheet: NDArray[np.uint8] = padded.permute(0, 3, 1, 4, 2).reshape(n * h, v * w, c).numpy()
    return np.ascontiguousarray(sheet[:-_GAP, :-_GAP])
