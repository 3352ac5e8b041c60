"""System C: a CNN published as a notebook."""

from __future__ import annotations

from dataclasses import replace

from mien.recipe import Augment, ModelSpec, Optimizer, Recipe
from mien.recipes.catalogue import register


@register(system="C")
def dropout_cnn() -> Recipe:
    """System C: a plain CNN with dropout after pooling; rotation, zoom and flip; early stopping; Adam.

    Published: no figure.
    mien's choices for settings not published: 10 degrees, 10 % zoom, at most 60 epochs, a patience of 10 on
    validation accuracy, batch 64, Adam lr 0.001 (the library's default).
    """
    return Recipe(
        name="dropout-cnn",
        model=ModelSpec("dropout-cnn"),
        augment=Augment(flip=0.5, rotation=10, scale=(0.9, 1.1)),
        optimizer=Optimizer(name="adam", lr=1e-3),
        early_stopping=10,
        epochs=60,
        batch_size=64,
    )


@register(system="C")
def dropout_cnn_sgd() -> Recipe:
    """System C with SGD instead of Adam.

    Published: no figure and no learning rate; mien's choices are lr 0.01 and Nesterov momentum 0.9. All else as in
    `dropout-cnn`.
    """
    return replace(
        dropout_cnn(),
        name="dropout-cnn-sgd",
        optimizer=Optimizer(name="sgd", lr=0.01, momentum=0.9, nesterov=True),
    )
