"""Between the weights that a training began with and those that it came to.

Fine-tuned weights are better at what they were tuned for and worse at what the network knew. On the straight line
between the two lie networks that are nearly as good at both (Wortsman et al. 2022, Robust fine-tuning of zero-shot
models), at no cost in use.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn


def blended(network: nn.Module, start: Mapping[str, Tensor], share: float) -> nn.Module:
    """A copy of a network whose weights and moving statistics are to such a share those of `start`.

    `start` is a state dict of the same network. Counts, which are not floating-point, stay as they are.
    """
    state = {
        name: value.lerp(start[name].to(value), share) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    between = copy.deepcopy(network)
    between.load_state_dict(state)
    return between
