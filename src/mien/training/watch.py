"""Watchers of a training: the loop calls them at each event; they print, draw or log."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from mien.pages.plots import save_png
from mien.recipe import Recipe
from mien.runs import JUDGED_BY_PEOPLE, RunFolder, validated
from mien.terminal import Terminal, named

if TYPE_CHECKING:
    from mien.training.outlook import Outlook


@dataclass(frozen=True)
class Moment:
    """The progress of a training after some step; figures are means over the epoch so far.

    Attributes:
        epoch: the running epoch, from 1.
        step: optimiser steps taken in the whole training.
        loss: training loss.
        accuracy: training accuracy, 0..1.
        images_per_second: training speed.
    """

    epoch: int
    step: int
    loss: float
    accuracy: float
    images_per_second: float


class Watcher:
    """The base class of watchers; it does nothing at each event. Override the methods of interest.

    >>> class Printer(Watcher):
    ...     def epoch_ended(self, row, confusion_KK, *, best):
    ...         print(f"epoch {row['epoch']}: {row['train_accuracy']:.0%}")
    >>> Printer().epoch_ended({"epoch": 1, "train_accuracy": 0.25}, None, best=True)
    epoch 1: 25%
    """

    def planned(self, plan: Outlook) -> None:
        """The plan of the training is known; nothing is written yet."""

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        """Training starts at step `first_step` (0 unless resumed) of `steps`."""

    def noted(self, sentence: str) -> None:
        """Training has a remark for people, and continues."""

    def stepped(self, moment: Moment) -> None:
        """Some optimiser steps were taken; not called after every step."""

    def epoch_ended(
        self, row: Mapping[str, float], confusion_KK: NDArray[np.int64] | None, *, best: bool
    ) -> None:
        """An epoch was trained, and validated if it was due.

        Args:
            row: its figures, mien.runs.HISTORY_COLUMNS; without validation figures if it was not validated.
            confusion_KK: int64 (K, K), validation faces by true expression (row) and answer (column);
                None if it was not validated.
            best: whether its weights replace the kept ones.
        """

    def ended(self) -> None:
        """Training is over: finished, stopped or failed."""


#: Number of steps after which the remaining time is estimated.
_STEPS_TIMED = 20


class TerminalWatcher(Watcher):
    """Shows a progress bar and one line for each epoch; only lines if standard error is not a terminal."""

    def __init__(self, console: Console | None = None, *, plan: bool = True) -> None:
        """Use a console, default standard error; `plan`: also print the plan of the training."""
        self._plan = plan
        self._console = console or Terminal(stderr=True)
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[figures]}"),
            TextColumn("time left"),
            TimeRemainingColumn(),
        ]
        self._bar = Progress(
            *columns,
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, figures="")
        self._epochs = self._steps = self._first_step = 0
        self._began: float | None = None

    def planned(self, plan: Outlook) -> None:
        if self._plan:
            self._console.print(plan.render(), highlight=False, emoji=False)

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        self._epochs, self._steps, self._first_step = recipe.epochs, steps, first_step
        self._began = time.perf_counter()
        self._console.print(named(f"{recipe.name} -> {run.path}"), soft_wrap=True)
        self._bar.reset(self._task, total=steps, completed=first_step, description="training")
        self._bar.start()

    def noted(self, sentence: str) -> None:
        self._console.print(named(f"note: {sentence}"), soft_wrap=True)

    def stepped(self, moment: Moment) -> None:
        taken = moment.step - self._first_step
        if self._began is not None and taken >= _STEPS_TIMED:
            minutes = (time.perf_counter() - self._began) / taken * (self._steps - moment.step) / 60
            self._began = None
            if self._steps > moment.step:
                self.noted(
                    f"about {minutes:.0f} min to go" if minutes >= 1 else "under 1 min to go"
                )
        self._bar.update(
            self._task,
            completed=moment.step,
            description=f"epoch {moment.epoch}/{self._epochs}",
            figures=f"loss {moment.loss:.3f}  accuracy {moment.accuracy:.3f}  "
            f"{moment.images_per_second:,.0f} img/s",
        )

    def epoch_ended(
        self, row: Mapping[str, float], confusion_KK: NDArray[np.int64] | None, *, best: bool
    ) -> None:
        validation = " " * len("  validation 1.0000 / 50.00%")
        if "validation_loss" in row:
            validation = (
                f"  validation {row['validation_loss']:.4f} / {row['validation_accuracy']:6.2%}"
            )
        self._console.print(
            f"epoch {row['epoch']:>3.0f}/{self._epochs}"
            f"  training {row['train_loss']:.4f} / {row['train_accuracy']:6.2%}"
            f"{validation}"
            f"{f'  people {row[JUDGED_BY_PEOPLE]:6.2%}' if JUDGED_BY_PEOPLE in row else ''}"
            f"  lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s"
            f"  {row['images_per_second']:,.0f} img/s{'  kept' if best else ''}",
            highlight=False,
            soft_wrap=True,
        )

    def ended(self) -> None:
        self._bar.stop()


class PictureWatcher(Watcher):
    """Writes `training.png` into the run folder: the curves so far, at most once in `seconds`, and at the end."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._run: RunFolder | None = None
        self._drawn = -math.inf
        self._stale = False

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        self._run = run

    def epoch_ended(
        self, row: Mapping[str, float], confusion_KK: NDArray[np.int64] | None, *, best: bool
    ) -> None:
        self._stale = True
        if time.monotonic() - self._drawn >= self._seconds:
            self._draw()

    def ended(self) -> None:
        if self._stale:
            self._draw()

    def _draw(self) -> None:
        if self._run is not None and validated(self._run.history()):
            save_png(self._run.plot(), self._run.path / "training.png")
        self._drawn, self._stale = time.monotonic(), False


def usual_watchers(*, plan: bool = True) -> list[Watcher]:
    """The default watchers: the terminal (`plan`: with the plan of the training) and a picture in the run folder."""
    return [TerminalWatcher(plan=plan), PictureWatcher()]
