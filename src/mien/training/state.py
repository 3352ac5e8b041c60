"""Where a training stands: the figures of the running epoch and of those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mien.training.watch import Moment


@dataclass
class TrainingState:
    """With weights, optimiser and schedule, all that the next step depends on.

    step: optimiser steps taken. loss_sum, correct, seen, seconds: of the running epoch's faces so far.
    history: a row of mien.runs.HISTORY_COLUMNS for each epoch that ended.
    """

    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_value: float = -math.inf
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Number of the running epoch, from 1."""
        return len(self.history) + 1

    def moment(self) -> Moment:
        """What watchers are told; at least one face of the epoch was seen."""
        return Moment(
            epoch=self.epoch,
            step=self.step,
            loss=self.loss_sum / self.seen,
            accuracy=self.correct / self.seen,
            images_per_second=self.seen / max(self.seconds, 1e-9),
        )

    def end_epoch(self, row: dict[str, float]) -> None:
        """Begin the next one."""
        self.history.append(row)
        self.loss_sum, self.correct, self.seen, self.seconds = 0.0, 0, 0, 0.0
