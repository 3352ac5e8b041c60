"""The training loss.

It is called with logits, float32 (B, K), and targets: labels, int64 (B,), or distributions, float32 (B, K).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.recipe import Objective


class LogitAdjusted(nn.Module):
    """Adds `tau * ln(share)` of each expression to its logit before a loss (Menon et al. 2021, section 5.2).

    `shares_K`, float32 (K,), are the shares of expressions among the targets; one with share 0 is not changed.
    """

    shift: Tensor

    def __init__(self, loss: nn.Module, shares_K: Tensor, tau: float) -> None:
        super().__init__()
        self.loss = loss
        logs_K = torch.where(shares_K > 0, shares_K.clamp(min=1e-9).log(), 0)
        self.register_buffer("shift", tau * logs_K)

    def forward(self, logits_BK: Tensor, targets_B: Tensor) -> Tensor:
        loss: Tensor = self.loss(logits_BK + self.shift, targets_B)
        return loss


def build_objective(
    objective: Objective, labels: Tensor, classes: int, targets: Tensor | None = None
) -> nn.Module:
    """Build the loss of a recipe, on the device of the labels.

    Args:
        objective: the recipe's settings.
        labels: int64 (N,), labels of the training faces; their counts give the class weights.
        classes: K.
        targets: float32 (N, K) if the network learns from distributions; their mean gives the shares for
            logit adjustment. Otherwise the counts of the labels do.

    Returns:
        Mean cross-entropy in nats, with label smoothing (Szegedy et al. 2016, section 7) and class weights.
    """
    counts_K = torch.bincount(labels.cpu(), minlength=classes).float()
    weights_K = None
    if objective.class_weights == "balanced":
        weights_K = counts_K.sum() / (classes * counts_K.clamp(min=1))
        # Weight 0 for absent classes: label smoothing would otherwise push every face towards them.
        weights_K = torch.where(counts_K > 0, weights_K, 0)
    loss: nn.Module = nn.CrossEntropyLoss(weights_K, label_smoothing=objective.label_smoothing)
    if objective.logit_adjustment:
        soft = targets is not None and targets.is_floating_point()
        shares_K = (
            targets.cpu().mean(0) if soft and targets is not None else counts_K / counts_K.sum()
        )
        loss = LogitAdjusted(loss, shares_K, objective.logit_adjustment)
    return loss.to(labels.device)
