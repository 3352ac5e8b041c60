"""Networks made of a trained one: its moving average, its blend with the initial weights, precise BatchNorm."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


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


def blended(network: nn.Module, start: Mapping[str, Tensor], share: float) -> nn.Module:
    """Copy a network with (1 - share) of its weights and moving statistics plus `share` of those of `start`.

    Args:
        network: the trained network; it is not changed.
        start: a state dict of the same network.
        share: 0..1.

    Integer buffers, such as BatchNorm's counts, are the network's own. Fine-tuned weights are better on
    the new data and worse on the old; networks between the two are nearly as good on both, without a
    cost in use (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
    """
    state = {
        name: value.lerp(start[name].to(value), share) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    between = copy.deepcopy(network)
    between.load_state_dict(state)
    return between


@torch.no_grad()
def with_precise_norm(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Copy a network for evaluation, with BatchNorm statistics that are the means over these batches.

    The moving statistics of training come from augmented faces and from earlier weights, and averaged
    weights have none of their own; but recognition sees plain faces. Dropout is off, as in use. Sources:
    Wu & Johnson 2021, Rethinking "Batch" in BatchNorm, sections 3 and 5; for augmentation Touvron et al.
    2019, Fixing the train-test resolution discrepancy.

    Args:
        network: the network; it is not changed.
        batches: normalised inputs, float32 (B, C, H, W).
    """
    precise = copy.deepcopy(network).eval()
    norms = [module for module in precise.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    for number, inputs_BCHW in enumerate(batches if norms else (), start=1):
        for norm in norms:
            # Gives the mean of all batches; momentum None would too, but waits for the device to read its counter.
            norm.momentum = 1 / number
        precise(inputs_BCHW)
    return precise.eval()
