"""Mixup and CutMix: blend each face and its target with another face of the batch.

Shapes: B faces of a batch, C channels, H height, W width, K expressions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mien.recipe import Mixing
from mien.training.feed import without_waiting


def mixed(
    inputs_BCHW: Tensor, targets: Tensor, mixing: Mixing, expressions: int
) -> tuple[Tensor, Tensor]:
    """Blend the faces of a batch, and their targets, with other faces of the batch.

    The partners, the share and the rectangle are drawn from torch's default generator on the CPU.

    Args:
        inputs_BCHW: float32 (B, C, H, W), normalised.
        targets: labels, int64 (B,), or distributions, float32 (B, K).
        mixing: method and probability (Zhang et al. 2018, mixup; Yun et al. 2019, CutMix).
        expressions: K.

    Returns:
        Inputs of the same shape, and distributions, float32 (B, K). If the batch is not mixed, both are
        returned unchanged.
    """
    if not mixing.probability or torch.rand(()).item() >= mixing.probability:
        return inputs_BCHW, targets
    share = torch.distributions.Beta(mixing.alpha, mixing.alpha).sample().item()
    partner_B = without_waiting(torch.randperm(len(inputs_BCHW)), inputs_BCHW.device)
    if mixing.name == "mixup":
        inputs_BCHW = torch.lerp(inputs_BCHW[partner_B], inputs_BCHW, share)
    else:
        inputs_BCHW, share = _cut(inputs_BCHW, partner_B, share)
    if not targets.is_floating_point():
        targets = functional.one_hot(targets, expressions).float()
    return inputs_BCHW, torch.lerp(targets[partner_B], targets, share)


def _cut(inputs_BCHW: Tensor, partner_B: Tensor, share: float) -> tuple[Tensor, float]:
    """Replace a rectangle of each face by its partner's; returns the faces and the share of their own pixels."""
    height, width = inputs_BCHW.shape[2:]
    side = math.sqrt(1 - share)
    edges = []
    for length in (height, width):
        centre = torch.randint(length, ()).item()
        half = side * length / 2
        edges.append((max(0, round(centre - half)), min(length, round(centre + half))))
    (top, bottom), (left, right) = edges
    cut_BCHW = inputs_BCHW.clone()
    cut_BCHW[..., top:bottom, left:right] = inputs_BCHW[partner_B, ..., top:bottom, left:right]
    return cut_BCHW, 1 - (bottom - top) * (right - left) / (height * width)
