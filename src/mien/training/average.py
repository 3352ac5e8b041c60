"""The moving average of a network's weights, which generalises better than the weights themselves."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a network whose weights follow those of the one that is trained.

    torch's AveragedModel asks the device in every step whether it is the first; this one never waits for it.

    Attributes:
        module: the network with the averaged weights.
    """

    def __init__(self, network: nn.Module, decay: float, *, buffers: bool) -> None:
        """`buffers`: average BatchNorm's statistics too; no need where they are computed anew before use."""
        self.module = copy.deepcopy(network)
        self._decay = decay
        self._updates = 0
        self._followed = _floats(network, buffers)
        self._own = _floats(self.module, buffers)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; the first ones are taken as they are."""
        if self._updates == 0:
            torch._foreach_copy_(self._own, self._followed)
        else:
            torch._foreach_lerp_(self._own, self._followed, 1 - self._decay)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """As torch's AveragedModel names it, so that runs of earlier versions go on."""
        module = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        return {"n_averaged": torch.tensor(self._updates), **module}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._updates = int(state["n_averaged"])
        self.module.load_state_dict(
            {
                name.removeprefix("module."): value
                for name, value in state.items()
                if name != "n_averaged"
            }
        )


def _floats(network: nn.Module, buffers: bool) -> list[Tensor]:
    """What can be averaged: counts of batches cannot."""
    tensors: list[Tensor] = [*network.parameters(), *(network.buffers() if buffers else ())]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
