"""Compute BatchNorm statistics again after training, from plain training faces.

The moving statistics of training come from augmented faces and from earlier weights, and averaged weights have none
of their own; but recognition sees plain faces. Sources: Wu & Johnson 2021, Rethinking "Batch" in BatchNorm, sections
3 and 5; for augmentation Touvron et al. 2019, Fixing the train-test resolution discrepancy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def with_precise_norm(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Copy a network for evaluation, with BatchNorm statistics that are the means over these batches.

    Dropout is off, as in use.

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
