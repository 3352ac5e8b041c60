"""One step of a training: logits, loss, gradients and update of the weights.

Nothing here waits for the device, except in float16: its scaling has to check whether a gradient overflowed.

Shapes: B faces, C channels, H height, W width, K expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Step:
    """Updates a network's weights once for each batch that it is called with."""

    def __init__(
        self,
        network: nn.Module,
        forward: Callable[[Tensor], Tensor],
        objective: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        dtype: torch.dtype,
        clip_norm: float | None,
    ) -> None:
        """Set up the step.

        Args:
            network: the network whose weights are updated.
            forward: computes its logits: the network itself, compiled, or distributed.
            objective: the loss.
            optimizer: the optimiser of the network's parameters.
            dtype: the type for autocast.
            clip_norm: the largest norm of all gradients together; None does not clip.
        """
        self._parameters = list(network.parameters())
        self._device = self._parameters[0].device
        self.forward = forward
        self._objective = objective
        self._optimizer = optimizer
        self._dtype = dtype
        self._clip_norm = clip_norm
        # Small gradients would become zero in float16, so the loss is scaled up before they are computed.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=dtype == torch.float16)

    def __call__(self, inputs_BCHW: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step on a batch.

        Args:
            inputs_BCHW: float32 (B, C, H, W), normalised.
            targets: labels, int64 (B,), or distributions, float32 (B, K).

        Returns:
            (loss, float32 (); logits, float32 (B, K)), both from before the step and detached.
        """
        loss, logits_BK = self.loss(inputs_BCHW, targets)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self._clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        # A step that overflowed is skipped. If it is the first, schedules would warn of a wrong order of calls.
        self._optimizer._opt_called = True  # type: ignore[attr-defined]
        return loss.detach(), logits_BK.detach()

    def loss(self, inputs_BCHW: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Compute loss and logits like `__call__`, but attached to the graph and without updating weights."""
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            logits_BK = self.forward(inputs_BCHW).float()
        return self._objective(logits_BK, targets), logits_BK

    def state_dict(self) -> dict[str, Any]:
        """The scale of float16; empty in other precisions."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scale of float16; a run started in another precision has none and finds it again."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)


def captured(
    network: nn.Module, inputs_BCHW: Tensor, dtype: torch.dtype
) -> tuple[Callable[[Tensor], Tensor], str | None]:
    """Compile a network, and try it once forwards and backwards; the network itself is not changed.

    With torch.compile, and with CUDA graphs on CUDA: a GPU then does not wait for Python between small
    operators. It takes a minute, so it is optional (`--compile`).

    Args:
        network: the network, in training mode.
        inputs_BCHW: float32 (B, C, H, W), a batch of the shape of all later ones.
        dtype: the type for autocast.

    Returns:
        (function, fault): the compiled network and None; or, if it cannot be compiled, the network
        itself and the reason in one sentence.
    """
    kept = [buffer.clone() for buffer in network.buffers()]
    device = inputs_BCHW.device.type
    try:
        compiled = torch.compile(network, mode="reduce-overhead", dynamic=False)
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            answers = compiled(inputs_BCHW)
        answers.float().sum().backward()
    except Exception as error:  # compilers and drivers raise many kinds of errors
        reason = next(iter(str(error).strip().splitlines()), "")
        return network, (
            f"--compile: torch cannot compile this network here ({type(error).__name__}: {reason}); "
            "it is trained without"
        )
    finally:
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), kept, strict=True):
                buffer.copy_(before)
        for parameter in network.parameters():
            parameter.grad = None
    return _marking(compiled), None


def _marking(compiled: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Mark each call as a new step, so that CUDA graphs may reuse the memory of earlier results."""

    def forward(inputs_BCHW: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return compiled(inputs_BCHW)

    return forward
