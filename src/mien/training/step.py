"""One step of a training: the network's answers, the loss, the gradients, the weights' move.

Nothing here waits for the device, but for float16, whose scaling has to know whether a gradient overflowed.

Shapes: B faces, C channels, H height, W width, K expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Step:
    """Moves a network's weights once for each batch that it is called with."""

    def __init__(
        self,
        network: nn.Module,
        forward: Callable[[Tensor], Tensor],
        objective: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        dtype: torch.dtype,
        clip_norm: float | None,
    ) -> None:
        """`forward`: `network`, or how else its logits are computed, in `dtype`. `clip_norm`: the largest norm of all
        gradients together, if any."""
        self._parameters = list(network.parameters())
        self._device = self._parameters[0].device
        self.forward = forward
        self._objective = objective
        self._optimizer = optimizer
        self._dtype = dtype
        self._clip_norm = clip_norm
        # Small gradients are zero in float16: the loss is scaled up before they are computed.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=dtype == torch.float16)

    def __call__(self, inputs_BCHW: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, float32 (), and the logits, float32 (B, K), neither with gradients."""
        loss, logits_BK = self.loss(inputs_BCHW, targets)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self._clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        # A step that overflowed is not taken, yet counts: schedules would warn that they came before the first.
        self._optimizer._opt_called = True  # type: ignore[attr-defined]
        return loss.detach(), logits_BK.detach()

    def loss(self, inputs_BCHW: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with gradients and without the move."""
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            logits_BK = self.forward(inputs_BCHW).float()
        return self._objective(logits_BK, targets), logits_BK

    def state_dict(self) -> dict[str, Any]:
        """The scale of float16; empty in other precisions."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A run that was begun in another precision has no scale to go on with: it is found anew."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)
