"""The optimisers and learning-rate schedules of recipes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, lr_scheduler

from mien import recipe
from mien.models.weights import head_names
from mien.training.muon import Muon


def build_optimizer(spec: recipe.Optimizer, network: nn.Module) -> Optimizer:
    """Build the optimiser of all of a network's parameters; torch's optimisers are fused into one kernel a step."""
    common: dict[str, Any] = {"lr": spec.lr, "weight_decay": spec.weight_decay}
    parameters = _parameters(spec, network)
    if spec.name == "muon":
        return Muon(parameters, momentum=spec.momentum, betas=spec.betas, **common)
    common["fused"] = True
    if spec.name == "sgd":
        return SGD(parameters, momentum=spec.momentum, nesterov=spec.nesterov, **common)
    kind = Adam if spec.name == "adam" else AdamW
    return kind(parameters, betas=spec.betas, **common)


def freeze_backbone(network: nn.Module, frozen: bool) -> None:
    """Freeze all of a network but its head, or unfreeze it. The network is in training mode.

    Frozen parameters get no gradient, and frozen BatchNorm uses its stored statistics.
    """
    head = head_names(network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not frozen or name in head)
    for name, module in network.named_modules():
        if hasattr(module, "running_mean") and f"{name}.running_mean" not in head:
            module.train(not frozen)


class LearningRate:
    """Changes an optimiser's learning rate after each step or epoch by a recipe's schedule."""

    def __init__(self, spec: recipe.Schedule, optimizer: Optimizer, steps: int) -> None:
        """Start the schedule; `steps` is the number of optimiser steps of the whole training."""
        self._monitor = spec.monitor
        self._optimizer = optimizer
        self._by_step: lr_scheduler.LRScheduler | None = None
        self._by_epoch: lr_scheduler.ReduceLROnPlateau | None = None
        peak: float = optimizer.param_groups[0]["lr"]
        if spec.name == "plateau":
            self._by_epoch = lr_scheduler.ReduceLROnPlateau(
                optimizer,
                mode="min" if spec.monitor == "loss" else "max",
                factor=spec.factor,
                patience=spec.patience,
            )
        elif spec.name == "cosine":
            self._by_step = lr_scheduler.CosineAnnealingLR(
                optimizer, T_max=steps, eta_min=peak * spec.final
            )
        elif spec.name == "one-cycle":
            self._by_step = lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=peak,
                total_steps=steps + 1,  # it is also called after the last step
                pct_start=_not_one_step(spec.warmup, steps + 1),
                final_div_factor=1 / (25 * spec.final),  # from lr / 25, its default start
                cycle_momentum=False,
            )
        self._keep_factors()

    @property
    def current(self) -> float:
        """The learning rate of the next step."""
        rate: float = self._optimizer.param_groups[0]["lr"]
        return rate

    def after_step(self) -> None:
        """Move the rate, if the schedule goes by steps."""
        if self._by_step is not None:
            self._by_step.step()
            self._keep_factors()

    def after_epoch(self, validation_loss: float, validation_accuracy: float) -> None:
        """Move the rate, if the schedule goes by epochs (plateau); accuracy is 0..1, loss in nats."""
        if self._by_epoch is not None:
            self._by_epoch.step(validation_loss if self._monitor == "loss" else validation_accuracy)
            self._keep_factors()

    def state_dict(self) -> dict[str, Any]:
        inner = self._by_step or self._by_epoch
        return {} if inner is None else inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        inner = self._by_step or self._by_epoch
        if inner is not None:
            inner.load_state_dict(state)

    def _keep_factors(self) -> None:
        """Set the learning rates of all groups after the first to its rate times their factor.

        Some schedules would otherwise change each group by its own formula.
        """
        first, *others = self._optimizer.param_groups
        for group in others:
            group["lr"] = first["lr"] * group["factor"]


def _parameters(
    spec: recipe.Optimizer, network: nn.Module
) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
    """All parameters; or two groups, head and backbone, if the backbone has its own learning rate."""
    if spec.backbone_lr == 1:
        return network.parameters()
    head = head_names(network)
    groups: list[dict[str, Any]] = [
        {"params": [], "lr": spec.lr},
        {"params": [], "lr": spec.lr * spec.backbone_lr, "factor": spec.backbone_lr},
    ]
    for name, parameter in network.named_parameters():
        groups[name not in head]["params"].append(parameter)
    return groups


def _not_one_step(warmup: float, steps: int) -> float:
    """The warmup share, changed slightly if it is exactly one step, because OneCycleLR would divide by zero."""
    return warmup + 1e-6 if math.isclose(warmup * steps, 1) else warmup
