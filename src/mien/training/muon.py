"""Muon: the momentum of a weight matrix, made orthogonal, is its step (Jordan et al. 2024).

A convolution counts as the matrix of its filters. All matrices of one shape are computed together, in float32:
many CPUs only emulate bfloat16, 25 times slower. Biases and normalisation move by AdamW at the same rate.

Why not a library's: PyTorch's Muon takes matrices alone, and timm's (1.0.31) has no argument for float32. With its
inner function set to float32, its step of `mien-s` took 190 ms of one AVX2 core, this one 105 ms.

Shapes: M matrices of one shape, R rows and C columns of a weight seen as a matrix, one row an output channel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

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
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            self._move_matrices([weight for weight in moving if weight.ndim >= 2], group)
            self._move_others([values for values in moving if values.ndim < 2], group)

    def _move_matrices(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        if not weights:
            return
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        alike = defaultdict(list)
        for weight, direction in zip(weights, ahead, strict=True):
            matrix_RC = direction.flatten(1)
            alike[matrix_RC.shape, matrix_RC.device].append((weight, matrix_RC))
        for ((rows, columns), _), members in alike.items():
            moved = [weight for weight, _ in members]
            steps_MRC = orthogonal(torch.stack([matrix_RC for _, matrix_RC in members]))
            steps = [step.view_as(weight) for weight, step in zip(moved, steps_MRC, strict=True)]
            size = 0.2 * max(rows, columns) ** 0.5
            torch._foreach_add_(moved, steps, alpha=-group["lr"] * size)

    def _move_others(self, values: list[Tensor], group: dict[str, Any]) -> None:
        if not values:
            return
        for one in values:
            state = self.state[one]
            if not state:
                state["step"] = torch.zeros(())
                state["mean"], state["square"] = torch.zeros_like(one), torch.zeros_like(one)
        states = [self.state[one] for one in values]
        first, second = group["betas"]
        adamw(
            values,
            [one.grad for one in values if one.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=True,
            amsgrad=False,
            beta1=first,
            beta2=second,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=_ADAM_EPSILON,
            maximize=False,
        )


def orthogonal(matrices_MRC: Tensor) -> Tensor:
    """The nearest matrices of orthogonal rows or columns, about: singular values between 0.7 and 1.2.

    Five Newton-Schulz steps X <- (a I + b XX' + c (XX')^2) X, without a decomposition. All polynomials of
    A = XX' commute, so the steps are taken on the small A alone and X is multiplied once, at the end.

    Args:
        matrices_MRC: float32, M matrices of one shape.

    Returns:
        Float32, the same shape.
    """
    tall = matrices_MRC.shape[1] > matrices_MRC.shape[2]
    wide_MRC = matrices_MRC.mT if tall else matrices_MRC
    wide_MRC = wide_MRC / wide_MRC.norm(dim=(1, 2), keepdim=True).clamp(min=_EPSILON)
    gram_MRR = wide_MRC @ wide_MRC.mT
    product_MRR: Tensor | None = None
    for step in range(_STEPS):
        factor_MRR = torch.baddbmm(gram_MRR, gram_MRR, gram_MRR, beta=_B, alpha=_C)
        factor_MRR.diagonal(dim1=1, dim2=2).add_(_A)
        product_MRR = factor_MRR if product_MRR is None else factor_MRR @ product_MRR
        if step < _STEPS - 1:
            gram_MRR = factor_MRR @ gram_MRR @ factor_MRR
    moved_MRC: Tensor = product_MRR @ wide_MRC
    return moved_MRC.mT if tall else moved_MRC
