"""TensorBoard: event files in RUN/tensorboard."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import extra_required
from mien.evaluation.text import flatten
from mien.runs import RunFolder
from mien.training.trackers.tracking import ExperimentTracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(ExperimentTracker):
    """Logs scalars by optimiser step, recipe and data as text, and the confusion matrix as an image."""

    library = "tensorboard"
    _writer: SummaryWriter

    def __init__(self) -> None:
        with extra_required("track", "--track tensorboard"):
            import tensorboard  # noqa: F401

    def begin(
        self, run: RunFolder, facts: Mapping[str, Any], first_step: int, identity: str | None
    ) -> tuple[str, str]:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.path / "tensorboard"
        # Steps after the last saved state are repeated; `purge_step` makes readers drop their first figures.
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)
        if identity is None:
            for name, values in facts.items():
                rows = "\n".join(f"| {key} | {value} |" for key, value in flatten(values))
                self._writer.add_text(name, f"| | |\n|-|-|\n{rows}", 0)
        return folder.name, f"tensorboard --logdir {shlex.quote(str(folder))}"

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], caption: str, step: int) -> None:
        self._writer.add_image(name, pixels_HWC, step, dataformats="HWC")

    def end(self, exit_code: int) -> None:
        self._writer.close()
