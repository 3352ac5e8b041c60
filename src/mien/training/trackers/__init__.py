"""Experiment trackers, which log a training besides its run folder: Weights & Biases, TensorBoard, MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mien.errors import InputError
from mien.recipe import listed
from mien.training.trackers.mlflow_store import MLflow
from mien.training.trackers.tensorboard_events import TensorBoard
from mien.training.trackers.tracking import TRACKERS as TRACKERS
from mien.training.trackers.tracking import ExperimentTracker as ExperimentTracker
from mien.training.trackers.tracking import Tracking as Tracking
from mien.training.trackers.weights_and_biases import WeightsAndBiases

TRACKERS.add("wandb", WeightsAndBiases)
TRACKERS.add("wandb-offline", partial(WeightsAndBiases, offline=True))
TRACKERS.add("tensorboard", TensorBoard)
TRACKERS.add("mlflow", MLflow)


def trackers_named(names: Sequence[str]) -> list[Tracking]:
    """Make watchers that log to the trackers of these names, as `mien train --track NAME` does.

    Raises:
        InputError: there is no such tracker, its library is not installed, or the user is not logged in.
            Later failures are only warnings.
    """
    chosen = {name: TRACKERS[name] for name in listed(names)}
    made = {name: make() for name, make in chosen.items()}
    if len({tracker.library for tracker in made.values()}) < len(made):
        raise InputError("--track wandb and --track wandb-offline: choose one of them")
    return [Tracking(name, tracker) for name, tracker in made.items()]
