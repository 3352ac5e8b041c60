"""Interpolate between the initial and the trained weights of a network.

Fine-tuned weights are better on the new data and worse on the old. Networks on the straight line between the two are
nearly as good on both (Wortsman et al. 2022, Robust fine-tuning of zero-shot models), without a cost in use.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn


def blended(network: nn.Module, start: Mapping[str, Tensor], share: float) -> nn.Module:
    """Copy a network with (1 - share) of its weights and moving statistics plus `share` of those of `start`.

    Args:
        network: the trained network; it is not changed.
        start: a state dict of the same network.
        share: 0..1.

    Integer buffers, such as BatchNorm's counts, are the network's own.
    """
    state = {
        name: value.lerp(start[name].to(value), share) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    between = copy.deepcopy(network)
    between.load_state_dict(state)
    return between
