"""Muon: the momentum of a weight matrix, made orthogonal, is its step (Jordan et al. 2024).

A convolution counts as the matrix of its filters. Matrices whose shorter sides are alike are computed together, in
float32: many CPUs only emulate bfloat16, 25 times slower. Biases and normalisation move by AdamW at the same rate.

Why not a library's: PyTorch's Muon takes matrices alone, and timm's (1.0.31) has no argument for float32. With its
inner function set to float32, its step of `mien-s` took 190 ms of one AVX2 core, this one 105 ms.

Shapes: R rows and C columns of a weight seen as a matrix, one row an output channel; S its shorter and L its longer
side; M matrices of one shape, B of one shorter side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.adamw import adamw

#: Of the quintic that draws singular values towards 1; steep at 0, so that five steps do (Jordan et al. 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPSILON = 1e-7
_ADAM_EPSILON = 1e-8
#: Shorter sides below it are padded up to it, so that small matrices are computed together.
_SMALLEST = 32


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
        moved = orthogonal([_matrix(direction) for direction in ahead])
        steps = [_shaped(step_RC, like) for step_RC, like in zip(moved, ahead, strict=True)]
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
    """A weight (R, ...) as (R, C), its columns in the order of memory: nothing is copied, and XX' is the same."""
    if weight.ndim == 4 and not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)
    return weight.flatten(1)


def _shaped(matrix_RC: Tensor, like: Tensor) -> Tensor:
    """What `_matrix` made of `like`, in the shape of `like` again."""
    if like.ndim == 4 and not like.is_contiguous():
        rows, channels, height, width = like.shape
        return matrix_RC.view(rows, height, width, channels).permute(0, 3, 1, 2)
    return matrix_RC.view_as(like)


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """The nearest matrices of orthogonal rows or columns, about: singular values between 0.7 and 1.2.

    Five Newton-Schulz steps X <- (a I + b XX' + c (XX')^2) X, without a decomposition. All polynomials of
    A = XX' commute, so the steps are taken on the small A alone and X is multiplied once, at the end. All A of one
    side are computed together, however long their X.

    Args:
        matrices: float32 (R, C), of any shapes.

    Returns:
        Float32, of the same shapes.
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
    """M matrices of one shape as (M, S, L), their shorter side first."""
    stacked_MRC = torch.stack(matrices) if len(matrices) > 1 else matrices[0][None]
    return stacked_MRC.mT if stacked_MRC.shape[1] > stacked_MRC.shape[2] else stacked_MRC


def _padded(gram_MSS: Tensor, side: int) -> Tensor:
    """With zeros up to a side; whatever is computed of it has the same values where they were."""
    more = side - gram_MSS.shape[1]
    return functional.pad(gram_MSS, (0, more, 0, more)) if more else gram_MSS


def _factors(gram_BSS: Tensor) -> Tensor:
    """Of each A = XX', float32 (B, S, S), the matrix that makes X orthogonal when it is multiplied by it."""
    # The trace of A is the squared norm of X.
    square_B11 = gram_BSS.diagonal(dim1=1, dim2=2).sum(1).clamp(min=_EPSILON**2)[:, None, None]
    gram_BSS = gram_BSS / square_B11
    product_BSS = gram_BSS  # of no factor yet
    for step in range(_STEPS):
        # The step's factor is F = a I + H: to multiply by it is to add a times the other.
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
