"""Measured results of recipes that were trained in full: the figures of docs/results.md in one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """The result of an unchanged recipe on FER-2013.

    Attributes:
        accuracy: on PrivateTest, single view, 0..1; the mean over seeds.
        minutes: duration of one training.
        seeds: number of trainings.
        cores: CPU cores used by one training.
    """

    accuracy: float
    minutes: int
    seeds: int = 1
    cores: int = 1


#: Name of a recipe -> result. Recipes that were not trained in full have no entry. Those of `mien-s` and what
#: follows it were validated every epoch, which the recipe no longer is.
MEASURED = {
    "basic-cnn": Measured(0.5804, 9, cores=2),
    "basic-cnn-bn": Measured(0.6166, 47, cores=2),
    "dropout-cnn": Measured(0.6152, 44, cores=2),
    "dropout-cnn-sgd": Measured(0.6205, 59),
    "enhanced-cnn": Measured(0.6105, 96),
    "enhanced-cnn-v2": Measured(0.6127, 117, cores=2),
    "four-block-cnn": Measured(0.6339, 34, cores=2),
    "improved-cnn": Measured(0.6013, 51),
    "mien-s": Measured(0.7006, 105, seeds=2),
    "mien-s-robust": Measured(0.7021, 19),
    "simple-cnn": Measured(0.4935, 30),
    "simple-cnn-v2": Measured(0.5511, 60),
    "speedrun-cpu": Measured(0.6489, 3, seeds=5, cores=2),
}
