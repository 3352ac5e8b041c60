"""The figures of the running epoch, summed where the network computes.

Shapes: B faces, K expressions.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from mien.training.state import TrainingState


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
