"""The progress of a training: figures of the running epoch and of the epochs before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mien.training.watch import Moment


@dataclass
class TrainingState:
    """The progress of a training. Together with weights, optimiser and schedule it decides the next step.

    Attributes:
        step: optimiser steps taken.
        loss_sum, correct, seen, seconds: sum of losses, right answers, faces and time of the running epoch.
        best_epoch: the epoch whose weights are kept, from 1; 0 before the first validation.
        best_value: its value by the recipe's criterion.
        history: a row of mien.runs.HISTORY_COLUMNS for each finished epoch.
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
        """The number of the running epoch, from 1."""
        return len(self.history) + 1

    def moment(self) -> Moment:
        """The running figures for watchers; at least one face of the epoch must have been seen."""
        return Moment(
            epoch=self.epoch,
            step=self.step,
            loss=self.loss_sum / self.seen,
            accuracy=self.correct / self.seen,
            images_per_second=self.seen / max(self.seconds, 1e-9),
        )

    def end_epoch(self, row: dict[str, float]) -> None:
        """Add the row of the finished epoch to the history, and start the next epoch."""
        self.history.append(row)
        self.loss_sum, self.correct, self.seen, self.seconds = 0.0, 0, 0, 0.0
