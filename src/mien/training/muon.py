"""Muon: the momentum of a weight matrix, made orthogonal, is its step (Jordan et al. 2024).

PyTorch's own Muon takes matrices alone. This one takes a whole network: a convolution counts as the
matrix of its filters, and what is no matrix (biases, normalisation) moves by AdamW at the same rate.

Shapes: R rows and C columns of a weight seen as a matrix, one row an output channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: Of the quintic that draws singular values towards 1; steep at 0, so that five steps do (Jordan et al. 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPSILON = 1e-7
_ADAM_EPSILON = 1e-8


class Muon(torch.optim.Optimizer):
    """Muon for weights of two dimensions or more, AdamW for the rest; decoupled weight decay for all.

    The step of a matrix is scaled to the size that AdamW's steps have (Liu et al. 2025, "Muon is
    scalable", section 2.2), so one learning rate serves both.

    Args:
        parameters: as `torch.optim` takes them, in groups or not.
        lr: learning rate.
        weight_decay: share of a weight that is lost in a step, times `lr`.
        momentum: of matrices; always Nesterov's.
        betas: AdamW's.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | list[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        super().__init__(
            parameters,
            {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                move = self._move_matrix if parameter.ndim >= 2 else self._move_other
                move(parameter, parameter.grad, group)

    def _move_matrix(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead_RC = gradient.lerp(state["momentum"], group["momentum"]).flatten(1)
        rows, columns = ahead_RC.shape
        size = 0.2 * max(rows, columns) ** 0.5
        weight.add_(orthogonal(ahead_RC).view_as(weight), alpha=-group["lr"] * size)

    def _move_other(self, values: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[values]
        (first, second), lr = group["betas"], group["lr"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(values), torch.zeros_like(values)
        state["step"] += 1
        steps = state["step"].item()
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        spread = (state["square"] / (1 - second**steps)).sqrt_().add_(_ADAM_EPSILON)
        values.addcdiv_(state["mean"], spread, value=-lr / (1 - first**steps))


def orthogonal(matrix_RC: Tensor) -> Tensor:
    """The nearest matrix of orthogonal rows or columns, about: singular values between 0.7 and 1.2.

    Five Newton-Schulz steps in bfloat16, without a decomposition.
    """
    wide = matrix_RC.bfloat16()
    tall = wide.shape[0] > wide.shape[1]
    if tall:
        wide = wide.T
    wide = wide / wide.norm().clamp(min=_EPSILON)
    for _ in range(_STEPS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), wide, beta=_A)
    return (wide.T if tall else wide).to(matrix_RC.dtype)
