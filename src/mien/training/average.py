"""The exponential moving average of a network's weights; it generalises better than the last weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a network whose weights are the moving average of the trained network's.

    Used instead of torch's AveragedModel, which waits for the device in every step to read its counter.

    Attributes:
        module: the network with the averaged weights.
    """

    def __init__(self, network: nn.Module, decay: float, *, buffers: bool) -> None:
        """Copy the network.

        Args:
            network: the network that is trained.
            decay: the share of the average that is kept in each update, 0..1.
            buffers: average BatchNorm's statistics too; not needed if they are computed again before use.
        """
        self.module = copy.deepcopy(network)
        self._decay = decay
        self._updates = 0
        self._followed = _floats(network, buffers)
        self._own = _floats(self.module, buffers)

    @torch.no_grad()
    def update(self) -> None:
        """Add the network's present weights to the average; the first update copies them."""
        if self._updates == 0:
            torch._foreach_copy_(self._own, self._followed)
        else:
            torch._foreach_lerp_(self._own, self._followed, 1 - self._decay)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The state with the names of torch's AveragedModel, so that runs of earlier versions can resume."""
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
    """The floating-point tensors of a network; BatchNorm's integer counts cannot be averaged."""
    tensors: list[Tensor] = [*network.parameters(), *(network.buffers() if buffers else ())]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
