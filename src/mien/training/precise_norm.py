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
        norm.momentum = None  # the mean of all batches, each counting alike
        norm.train()
    for inputs_BCHW in batches if norms else ():
        precise(inputs_BCHW)
    return precise.eval()
