"""Who looks on while a network trains. The loop tells; a watcher prints, draws or logs."""

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
    """Where a training stands after some step. Figures are running means of the epoch so far."""

    epoch: int
    step: int
    loss: float
    accuracy: float
    images_per_second: float


class Watcher:
    """Does nothing at every event; a watcher overrides those it cares for."""

    def planned(self, plan: Outlook) -> None:
        """What is about to be trained, before anything is written."""

    def started(self, run: RunFolder, recipe: Recipe, steps: int, first_step: int) -> None:
        """Training begins at `first_step` of `steps` in all."""

    def noted(self, sentence: str) -> None:
        """Something happened that a person should know; training goes on."""

    def stepped(self, moment: Moment) -> None:
        """Some optimiser steps were taken (told now and then, not after each)."""

    def epoch_ended(
        self, row: Mapping[str, float], confusion_KK: NDArray[np.int64] | None, *, best: bool
    ) -> None:
        """An epoch was trained, and validated if its turn was.

        Args:
            row: its figures, mien.runs.HISTORY_COLUMNS; without those of validation if it was not validated.
            confusion_KK: int64 (K, K), validation faces by true expression (row) and answer (column); or None.
            best: whether its weights are kept, in the place of those before.
        """

    def ended(self) -> None:
        """Training is over, whatever ended it."""


#: Steps after which the rest of the time is told.
_STEPS_TIMED = 20


class TerminalWatcher(Watcher):
    """A progress bar and one line an epoch; lines alone where standard error is not a terminal."""

    def __init__(self, console: Console | None = None, *, plan: bool = True) -> None:
        """`plan` says whether to print what is about to be trained, too."""
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
    """Keeps `training.png` in the run folder: the curves so far. Quick epochs do not each draw one."""

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
    """Who looks on if nobody says: a terminal, with the plan or without, and a picture in the run folder."""
    return [TerminalWatcher(plan=plan), PictureWatcher()]
