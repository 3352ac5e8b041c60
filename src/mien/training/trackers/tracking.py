"""The interface of trackers, and a watcher that calls them; a failing tracker never ends a training."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mien.files import read_json, write_json
from mien.pages import plots
from mien.recipe import Recipe, to_dict
from mien.registry import Registry
from mien.runs import RunFolder, validated
from mien.terminal import note
from mien.training.watch import Moment, Watcher


class ExperimentTracker(ABC):
    """The interface to one tracking library.

    The constructor raises InputError for faults that are known before a training starts (not installed,
    not logged in). The methods may raise any error: `Tracking` turns it into a warning.
    """

    #: The name of the library; a run has at most one log in each library.
    library: ClassVar[str]

    @abstractmethod
    def begin(
        self, run: RunFolder, facts: Mapping[str, Any], first_step: int, identity: str | None
    ) -> tuple[str, str]:
        """Open the log.

        Args:
            run: the run folder; files go there unless the user's environment names another place.
            facts: `recipe`, `data` and `environment`: nested plain values.
            first_step: optimiser steps that were taken before.
            identity: the identity returned for an earlier part of this run, to continue its log; or None.

        Returns:
            The identity of the log, and its address for people (a URL or a command).
        """

    @abstractmethod
    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log figures by name, measured after `step` optimiser steps."""

    @abstractmethod
    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], caption: str, step: int) -> None:
        """Log an image, uint8 RGB (H, W, 3)."""

    @abstractmethod
    def end(self, exit_code: int) -> None:
        """Close the log; `exit_code` is 0 for a finished training, 128 + n if signal n stopped it, else an error."""


#: Name for --track -> function that makes the tracker.
TRACKERS = Registry[Callable[[], ExperimentTracker]]("tracker")


class Tracking(Watcher):
    """A watcher that logs to a tracker. If the tracker fails, it warns once and stops logging.

    The x axis is the optimiser step. Each epoch logs its row of history.csv under the names there.
    In between it logs `running/loss`, `running/accuracy`, `running/images_per_second` and
    `running/gap` (running training accuracy minus the latest validation accuracy). The confusion
    matrix of the best epoch is drawn only at the end, because drawing takes as long as many steps.
    """

    def __init__(self, name: str, tracker: ExperimentTracker) -> None:
        self._name = name
        self._tracker: ExperimentTracker | None = tracker
        self._expressions: tuple[str, ...] = ()
        self._validation_accuracy: float | None = None
        self._best: tuple[str, NDArray[np.int64]] | None = None
        self._step = 0
        self._handled_outside: BaseException | None = None

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        self._expressions, self._step = recipe.expressions, first_step
        self._handled_outside = sys.exception()
        if history := validated(run.history()):
            self._validation_accuracy = history[-1]["validation_accuracy"]

        def begin(tracker: ExperimentTracker) -> None:
            environment = run.environment()
            data = environment.pop("data")
            facts = {"recipe": to_dict(recipe), "data": data, "environment": environment}
            identities = _identities(run.path)
            before = identities.get(tracker.library)
            identity, where = tracker.begin(run, facts, first_step, before)
            if identity != before:
                write_json(_identities_path(run.path), identities | {tracker.library: identity})
            self._say(where)

        self._attempt(begin)

    def stepped(self, moment: Moment) -> None:
        if moment.step == self._step:
            return  # the last step of an epoch may be reported twice
        self._step = moment.step
        figures = {
            "running/loss": moment.loss,
            "running/accuracy": moment.accuracy,
            "running/images_per_second": moment.images_per_second,
        }
        if self._validation_accuracy is not None:
            figures["running/gap"] = moment.accuracy - self._validation_accuracy
        self._attempt(lambda tracker: tracker.log(figures, moment.step))

    def epoch_ended(
        self, row: Mapping[str, float], confusion_KK: NDArray[np.int64] | None, *, best: bool
    ) -> None:
        self._step = int(row["step"])
        self._validation_accuracy = row.get("validation_accuracy", self._validation_accuracy)
        if best and confusion_KK is not None:
            self._best = f"Validation, epoch {row['epoch']:.0f}", confusion_KK
        figures = {name: value for name, value in row.items() if name != "step"}
        self._attempt(lambda tracker: tracker.log(figures, self._step))

    def ended(self) -> None:
        # The loop calls this in `finally`, so its own error is still being handled.
        error = sys.exception()
        exit_code = 0 if error is self._handled_outside else getattr(error, "exit_code", 1)

        def end(tracker: ExperimentTracker) -> None:
            if self._best is not None:
                caption, confusion_KK = self._best
                figure = plots.confusion(confusion_KK, self._expressions, caption)
                pixels_HWC = plots.pixels(figure)
                tracker.picture("confusion_matrix", pixels_HWC, caption, self._step)
            tracker.end(exit_code)

        self._attempt(end)

    def _attempt(self, action: Callable[[ExperimentTracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            with redirect_stdout(sys.stderr):  # standard output is for results
                action(self._tracker)
        except Exception as error:  # libraries, networks and disks raise all kinds of errors
            self._tracker = None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._say(f"{reason}; training goes on and is no longer logged there", "warning: ")

    def _say(self, text: str, kind: str = "") -> None:
        note(f"{kind}{self._name}: {text}")


def title(run: RunFolder) -> str:
    """The name of a run in a tracker, the last two parts of its path: `runs/basic-cnn`, `basic-cnn/seed-0`."""
    return "/".join(run.path.resolve().parts[-2:])


def _identities_path(run: Path) -> Path:
    return run / "tracking.json"


def _identities(run: Path) -> dict[str, str]:
    """The identity of the run in each library that has logged it."""
    path = _identities_path(run)
    return read_json(path, "remove it, and the run gets a new identity") if path.exists() else {}
