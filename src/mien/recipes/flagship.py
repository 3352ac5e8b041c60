"""mien's own: the flagship, its teacher, and the speedruns."""

from __future__ import annotations

from dataclasses import replace

from mien.recipes.registry import register
from mien.training.recipe import Augment, Model, Objective, Optimizer, Recipe, Schedule

#: How faces are changed: the probe's rotation, scale, shift, flip and erasing.
_AUGMENT = Augment(flip=0.5, rotation=15, scale=(0.85, 1.15), shift=0.08, erase=0.5)


@register
def mien_s() -> Recipe:
    """The flagship: a residual network of 2.8 M parameters and 78 M multiply-adds, from scratch.

    Published: no figure; clean single networks trained from scratch reach 71 to 72.7 % of PrivateTest.
    Ours, seed 0, 115 minutes on one core of a CPU: PublicTest 69.7 % (70.6 with flip), PrivateTest 70.2 % (70.5). From
    epoch 67 on PublicTest stood still while the training faces were still being learnt: it wants more
    regularisation, not more epochs.
    """
    return Recipe(
        name="mien-s",
        model=Model("mien-s"),
        augment=_AUGMENT,
        objective=Objective(label_smoothing=0.1),
        optimizer=Optimizer(name="sgd", lr=0.2, weight_decay=5e-4, momentum=0.9, nesterov=True),
        schedule=Schedule(name="one-cycle", warmup=0.15),
        epochs=80,
        batch_size=256,
        ema=0.998,
        precise_norm=4096,
    )


@register
def mien_l() -> Recipe:
    """The teacher: the flagship's network at twice the width and stride 1, 11 M parameters; for a GPU.

    Published: no figure.
    """
    return replace(mien_s(), name="mien-l", model=Model("mien-l", {"dropout": 0.2}))


@register
def speedrun_cpu() -> Recipe:
    """The shortest way to 62.5 % of PublicTest on two CPU cores: half the flagship's width and depth, Muon.

    Published: no figure; 62.5 % is about what system B reaches in 50 epochs.
    """
    return replace(
        mien_s(),
        name="speedrun-cpu",
        model=Model("mien-s", {"width": 0.5, "depth": 1}),
        augment=Augment(flip=0.5, rotation=10, scale=(0.9, 1.1), shift=0.05),
        optimizer=Optimizer(name="muon", lr=0.02, weight_decay=0.05, momentum=0.9),
        epochs=10,
        ema=0.98,
    )
