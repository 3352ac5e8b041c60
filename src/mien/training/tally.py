"""Sum the figures of the running epoch on the device of the network.

Shapes: B faces, K expressions.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from mien.training.state import TrainingState


class Tally:
    """Sums the figures of steps on the device; only `take_stock` waits for the device."""

    def __init__(self, state: TrainingState, device: torch.device) -> None:
        """Start at zero; `state` receives the sums."""
        self._state = state
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=exact, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._before, self._started = state.seconds, time.perf_counter()

    def add(self, loss: Tensor, logits_BK: Tensor, labels_B: Tensor) -> None:
        """Add one step: its mean loss, float32 (), its logits, float32 (B, K), and labels, int64 (B,)."""
        self._loss_sum += loss * len(labels_B)
        self._correct += (logits_BK.argmax(1) == labels_B).sum()
        self._state.step += 1
        self._state.seen += len(labels_B)

    def take_stock(self) -> None:
        """Move the sums into the state and start again at zero; waits for the device."""
        self._state.loss_sum += self._loss_sum.item()
        self._state.correct += int(self._correct.item())
        self._loss_sum.zero_()
        self._correct.zero_()
        self._state.seconds = self._before + time.perf_counter() - self._started
