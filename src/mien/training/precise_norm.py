"""BatchNorm statistics for use, in the place of those that training left behind.

The moving statistics are those of augmented faces, and of weights that have moved on since; a moving average
of weights has none of its own at all. What recognises is shown faces as they are. So they are computed anew from
plain faces (Wu & Johnson 2021, Rethinking "Batch" in BatchNorm, sections 3 and 5; for augmentation Touvron et al.
2019, Fixing the train-test resolution discrepancy).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def with_precise_norm(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """A copy of a network, for evaluation, that normalises by the mean statistics of these inputs.

    Dropout is off, as it is when the statistics are used. `network` itself stays as it is.
    """
    precise = copy.deepcopy(network).eval()
    norms = [module for module in precise.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    for number, inputs_BCHW in enumerate(batches if norms else (), start=1):
        for norm in norms:
            norm.momentum = (
                1 / number
            )  # the mean of all; a momentum of None would wait for the device to count
        precise(inputs_BCHW)
    return precise.eval()
