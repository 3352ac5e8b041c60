"""Progressive resizing (Howard 2018): training starts with small faces, whose steps are faster, and they grow.

Only training faces are smaller: the network is validated and used at its full input size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.recipe import Recipe

#: Sides are rounded down to multiples of this, so that there are few different sizes and kernels are fast.
_STEP = 4


def spec_in(recipe: Recipe, epoch: int) -> InputSpec:
    """The input of training in an epoch, counted from 1; full size in the second half of the epochs."""
    spec, begin = recipe.input, recipe.progressive_size
    grown = 2 * (epoch - 1) / recipe.epochs
    if begin is None or grown >= 1:
        return spec
    factor = begin / spec.height
    factor += (1 - factor) * grown
    height, width = (
        max(_STEP, round(side * factor) // _STEP * _STEP) for side in (spec.height, spec.width)
    )
    return replace(spec, height=height, width=width)


@torch.no_grad()
def refuse_fixed_size(recipe: Recipe, network: nn.Module) -> None:
    """Refuse a progressive training if the network cannot take the smallest faces.

    Raises:
        InputError: the network fails on faces of the first epoch's size.
    """
    spec = spec_in(recipe, 1)
    if spec == recipe.input:
        return
    device = next(network.parameters()).device
    was_training = network.training
    try:
        network.eval()(torch.zeros(1, *spec.shape, device=device))
    except RuntimeError:
        raise InputError(
            f"progressive_size={recipe.progressive_size}: {recipe.model.name} takes only faces of "
            f"{recipe.input.height}x{recipe.input.width}; give progressive_size=none"
        ) from None
    finally:
        network.train(was_training)
