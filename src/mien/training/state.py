"""The progress of a training: figures of the running epoch, summed on the device, and of the epochs before it.

Shapes: B faces, K expressions.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

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


class Tally:
    """Sums the steps' figures on the device; only `take_stock` waits for the device."""

    def __init__(self, state: TrainingState, device: torch.device) -> None:
        """`state`: receives the sums."""
        self._state = state
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=exact, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._before, self._started = state.seconds, time.perf_counter()

    def add(self, loss: Tensor, logits_BK: Tensor, labels_B: Tensor) -> None:
        """Add one step: the mean loss of its faces, float32 (); logits (B, K); labels, int64 (B,)."""
        self._loss_sum += loss * len(labels_B)
        self._correct += (logits_BK.argmax(1) == labels_B).sum()
        self._state.step += 1
        self._state.seen += len(labels_B)

    def take_stock(self) -> None:
        """Move the sums into the state."""
        self._state.loss_sum += self._loss_sum.item()
        self._state.correct += int(self._correct.item())
        self._loss_sum.zero_()
        self._correct.zero_()
        self._state.seconds = self._before + time.perf_counter() - self._started
