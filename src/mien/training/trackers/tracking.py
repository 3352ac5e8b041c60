"""What every tracker is told, and the promise that none of them ends a training."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from mien.files import read_json, write_json
from mien.pages import plots
from mien.recipe import Recipe, to_dict
from mien.registry import Registry
from mien.runs import RunFolder, validated
from mien.terminal import Terminal, named
from mien.training.watch import Moment, Watcher


class ExperimentTracker(ABC):
    """One tracking library.

    The constructor raises InputError for what can be known before a training starts. The methods may
    raise what they like.
    """

    #: What it logs to; a run has at most one log in each.
    library: ClassVar[str]

    @abstractmethod
    def begin(
        self, run: RunFolder, facts: Mapping[str, Any], first_step: int, identity: str | None
    ) -> tuple[str, str]:
        """Open the log.

        Args:
            run: the run folder, where files go unless the user's environment says otherwise.
            facts: `recipe`, `data` and `environment`: nested plain values.
            first_step: optimiser steps that were taken before.
            identity: what an earlier training of this run was given here, to go on with; or None.

        Returns:
            The identity of the log, and a hint for people where to look at it.
        """

    @abstractmethod
    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log figures by name, as they are after `step` optimiser steps."""

    @abstractmethod
    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], caption: str, step: int) -> None:
        """Log an image, uint8 (H, W, 3)."""

    @abstractmethod
    def end(self, exit_code: int) -> None:
        """Close the log; 0 for a finished training, 128 + n for one that signal n stopped."""


#: What makes a tracker, by the name that --track takes.
TRACKERS = Registry[Callable[[], ExperimentTracker]]("tracker")


class Tracking(Watcher):
    """Tells a tracker what happens. When it fails there is one warning, then silence.

    The x axis is the optimiser step. Each epoch logs its row of history.csv under the names there.
    In between there are `running/loss`, `running/accuracy`, `running/images_per_second` and
    `running/gap`: running training accuracy minus the latest validation accuracy. The confusion
    matrix of the best epoch is drawn once, at the end: drawing takes as long as many steps.
    """

    def __init__(
        self, name: str, tracker: ExperimentTracker, console: Console | None = None
    ) -> None:
        self._name = name
        self._tracker: ExperimentTracker | None = tracker
        self._console = console or Terminal(stderr=True)
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
            return  # the end of an epoch may be told twice
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
        error = sys.exception()  # the loop tells its watchers while what ended it is on its way
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
        except Exception as error:  # libraries, networks and disks fail in every way there is
            self._tracker = None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._say(f"{reason}; training goes on and is no longer logged there", "warning: ")

    def _say(self, text: str, kind: str = "") -> None:
        line = f"{kind}{self._name}: {text}"
        self._console.print(named(line), soft_wrap=True)


def title(run: RunFolder) -> str:
    """What a run is called among others: `runs/basic-cnn`, or `basic-cnn/seed-0`."""
    return "/".join(run.path.resolve().parts[-2:])


def _identities_path(run: Path) -> Path:
    return run / "tracking.json"


def _identities(run: Path) -> dict[str, str]:
    """The identity of the run in each library that has logged it."""
    path = _identities_path(run)
    return read_json(path, "remove it, and the run gets a new identity") if path.exists() else {}
