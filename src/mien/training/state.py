"""Where a training stands: the figures of the running epoch, summed where the network computes, and of those before it.

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


class Tally:
    """Adds up the steps' figures on the device; only `take_stock` waits for it."""

    def __init__(self, state: TrainingState, device: torch.device) -> None:
        """`state`: into which the figures go."""
        self._state = state
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=exact, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._before, self._started = state.seconds, time.perf_counter()

    def add(self, loss: Tensor, logits_BK: Tensor, labels_B: Tensor) -> None:
        """Those of one step: the mean loss of its faces, float32 (), and what was said of them."""
        self._loss_sum += loss * len(labels_B)
        self._correct += (logits_BK.argmax(1) == labels_B).sum()
        self._state.step += 1
        self._state.seen += len(labels_B)

    def take_stock(self) -> None:
        """All that was added since is in the state."""
        self._state.loss_sum += self._loss_sum.item()
        self._state.correct += int(self._correct.item())
        self._loss_sum.zero_()
        self._correct.zero_()
        self._state.seconds = self._before + time.perf_counter() - self._started
