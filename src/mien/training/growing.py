"""Progressive resizing (Howard 2018): faces are small at the beginning, when a step then costs less, and grow.

Only what a network is trained on is smaller: it is validated, kept and used at its input's size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.recipe import Recipe

#: Sides are multiples of it, the next lower ones: few sizes, that suit the kernels.
_STEP = 4


def spec_in(recipe: Recipe, epoch: int) -> InputSpec:
    """What a network is trained on in an epoch, counted from 1. In the second half of the epochs it is its input."""
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
    """InputError if the first faces of a progressive training are too small for a network."""
    spec = spec_in(recipe, 1)
    if spec == recipe.input:
        return
    device = next(network.parameters()).device
    was_training = network.training
    try:
        network.eval()(torch.zeros(1, *spec.shape, device=device))
    except RuntimeError:
        raise InputError(
            f"progressive_size={recipe.progressive_size}: {recipe.model.name} takes faces of "
            f"{recipe.input.height}x{recipe.input.width} alone; give progressive_size=none"
        ) from None
    finally:
        network.train(was_training)
