"""Training losses by name.

An objective is called with float logits (B, K) and targets: int64 labels (B,) or float distributions (B, K).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mien.registry import Registry
from mien.training.recipe import Objective

#: (logits_BK, targets_B) -> scalar loss
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(objective: Objective, counts_K: Tensor) -> nn.Module:
    """Mean cross-entropy in nats, with label smoothing (Szegedy et al. 2016, section 7)."""
    weights = None
    if objective.class_weights == "balanced":
        weights = counts_K.sum() / (len(counts_K) * counts_K.clamp(min=1))
        # Label smoothing would push every face to a class of which there is none.
        weights = torch.where(counts_K > 0, weights, 0)
    return nn.CrossEntropyLoss(weight=weights, label_smoothing=objective.label_smoothing)


_OBJECTIVES = Registry[Callable[[Objective, Tensor], nn.Module]]("objective")
_OBJECTIVES.add("cross-entropy", cross_entropy)


def build_objective(objective: Objective, labels: Tensor, classes: int) -> nn.Module:
    """The loss a recipe asks for, fitted to the training labels' counts."""
    build = _OBJECTIVES[objective.name]
    counts_K = torch.bincount(labels.cpu(), minlength=classes).float()
    return build(objective, counts_K).to(labels.device)
