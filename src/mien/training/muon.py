"""Muon: the step of a weight matrix is its momentum, made orthogonal (Jordan et al. 2024).

A convolution is treated as the matrix of its filters. Matrices with the same shorter side are computed together, in
float32, because many CPUs only emulate bfloat16, 25 times slower. Biases and normalisation are moved by AdamW at the
same learning rate.

Reasons for an own implementation: PyTorch's Muon takes only matrices, and timm's (1.0.31) has no argument for
float32. With its inner function set to float32, its step of `mien-s` took 190 ms on one AVX2 core, this one 105 ms.

Shapes: R rows (output channels) and C columns of a weight as a matrix; S its shorter and L its longer side; M
matrices of one shape, B matrices of one shorter side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.adamw import adamw

#: Coefficients of the quintic polynomial that moves singular values towards 1; it is so steep at 0 that five steps
#: are enough (Jordan et al. 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPSILON = 1e-7
_ADAM_EPSILON = 1e-8
#: Smaller shorter sides are padded to this, so that all small matrices are computed together.
_SMALLEST = 32


class Muon(torch.optim.Optimizer):
    """Muon for weights of two dimensions or more, AdamW for all others; decoupled weight decay for both.

    The step of a matrix is scaled to the usual size of AdamW's steps (Liu et al. 2025, "Muon is scalable",
    section 2.2), so that one learning rate fits both.

    Args:
        parameters: parameters, or groups of them, as in `torch.optim`.
        lr: learning rate.
        weight_decay: each step multiplies weights by 1 - lr * weight_decay.
        momentum: momentum of matrices, always Nesterov's.
        betas: AdamW's betas.

    >>> network = nn.Linear(4, 2)
    >>> optimizer = Muon(network.parameters(), lr=0.01)
    >>> network(torch.ones(1, 4)).sum().backward()
    >>> optimizer.step()
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
        """Take one step for every parameter that has a gradient."""
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
        moved = orthogonal([_matrix(direction) for direction in ahead])
        steps = [_shaped(step_RC, like) for step_RC, like in zip(moved, ahead, strict=True)]
        # The root mean square of an orthogonal matrix is 1 / sqrt(longer side); AdamW's steps have about 0.2.
        torch._foreach_mul_(steps, [0.2 * max(step_RC.shape) ** 0.5 for step_RC in moved])
        torch._foreach_add_(weights, steps, alpha=-group["lr"])

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


def _matrix(weight: Tensor) -> Tensor:
    """View a weight (R, ...) as (R, C) without a copy.

    Columns are in the order of memory (channels last or first); their order does not change XX'.
    """
    if weight.ndim == 4 and not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)
    return weight.flatten(1)


def _shaped(matrix_RC: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_matrix`: view a matrix in the shape and memory order of `like`."""
    if like.ndim == 4 and not like.is_contiguous():
        rows, channels, height, width = like.shape
        return matrix_RC.view(rows, height, width, channels).permute(0, 3, 1, 2)
    return matrix_RC.view_as(like)


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Make matrices nearly orthogonal: singular values become 0.7 to 1.2, singular vectors are kept.

    Uses five Newton-Schulz steps X <- (a I + b XX' + c (XX')^2) X instead of a singular value decomposition. All
    polynomials of A = XX' commute, so the steps are computed on the small A only, and X is multiplied once at the end.
    All A of one side are computed together, even if their X have different lengths.

    Args:
        matrices: float32 (R, C), of any shapes.

    Returns:
        float32 matrices of the same shapes.
    """
    by_side: dict[int, dict[torch.Size, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, matrix_RC in enumerate(matrices):
        by_side[max(_SMALLEST, min(matrix_RC.shape))][matrix_RC.shape].append(place)
    found = [*matrices]
    for side, by_shape in by_side.items():
        wide = [_wide([matrices[place] for place in places]) for places in by_shape.values()]
        grams = [_padded(wide_MSL @ wide_MSL.mT, side) for wide_MSL in wide]
        factors_BSS = _factors(torch.cat(grams) if len(grams) > 1 else grams[0])
        parts = torch.split(factors_BSS, [len(gram_MSS) for gram_MSS in grams])
        for places, wide_MSL, part_MSS in zip(by_shape.values(), wide, parts, strict=True):
            small = wide_MSL.shape[1]
            for place, one_SL in zip(places, part_MSS[:, :small, :small] @ wide_MSL, strict=True):
                found[place] = one_SL if one_SL.shape == matrices[place].shape else one_SL.mT
    return found


def _wide(matrices: list[Tensor]) -> Tensor:
    """Stack M matrices of one shape as (M, S, L), transposed if needed, the shorter side first."""
    stacked_MRC = torch.stack(matrices) if len(matrices) > 1 else matrices[0][None]
    return stacked_MRC.mT if stacked_MRC.shape[1] > stacked_MRC.shape[2] else stacked_MRC


def _padded(gram_MSS: Tensor, side: int) -> Tensor:
    """Pad matrices with zeros to `side`; sums and products of padded matrices have the same upper left parts."""
    more = side - gram_MSS.shape[1]
    return functional.pad(gram_MSS, (0, more, 0, more)) if more else gram_MSS


def _factors(gram_BSS: Tensor) -> Tensor:
    """For each A = XX', float32 (B, S, S), compute the matrix F so that F X is nearly orthogonal."""
    # The trace of A is the squared norm of X.
    square_B11 = gram_BSS.diagonal(dim1=1, dim2=2).sum(1).clamp(min=_EPSILON**2)[:, None, None]
    gram_BSS = gram_BSS / square_B11
    product_BSS = gram_BSS  # replaced in the first step
    for step in range(_STEPS):
        # The step's factor is a I + H, so multiplying Y by it is a Y + H Y: one baddbmm.
        h_BSS = torch.baddbmm(gram_BSS, gram_BSS, gram_BSS, beta=_B, alpha=_C)
        if step < _STEPS - 1:
            half_BSS = torch.baddbmm(gram_BSS, gram_BSS, h_BSS, beta=_A)
            gram_BSS = torch.baddbmm(half_BSS, h_BSS, half_BSS, beta=_A)
        if step == 0:
            h_BSS.diagonal(dim1=1, dim2=2).add_(_A)
            product_BSS = h_BSS
        else:
            product_BSS = torch.baddbmm(product_BSS, h_BSS, product_BSS, beta=_A)
    return product_BSS * square_B11.rsqrt()
