"""The results of a sweep: its trials, the best of them, and the importance of each setting."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.data.store import FaceStore
from mien.errors import extra_required
from mien.runs import RunFolder
from mien.studies.sweep_space import Space
from mien.studies.sweep_trials import PROBLEM, SweepJob, ended_trials, last_value, running_trials
from mien.training import Recipe

with extra_required("sweep", "mien sweep"):
    import optuna


@dataclass(frozen=True)
class Tried:
    """A trial that ended.

    Attributes:
        number: its number, from 0.
        state: `complete`, `pruned` (stopped because it did worse than others) or `failed`.
        settings: field -> value.
        accuracy: validation accuracy, 0..1, of the kept weights; of a trial that was not completed, of its last
            epoch. None if no epoch was validated.
        epochs: trained epochs.
        seconds: duration of the training.
        run: path of the run folder.
        problem: the error that ended it, or None.
    """

    number: int
    state: str
    settings: dict[str, Any]
    accuracy: float | None
    epochs: int
    seconds: float
    run: str
    problem: str | None


@dataclass(frozen=True)
class Sweep:
    """The present state of a sweep.

    Attributes:
        recipe: the recipe before any change.
        space: the fields and their ranges.
        trials: the trials that ended, in the order in which they began.
        running: number of trials that have begun and not ended.
        importance: field -> share of the variance of accuracy that it explains, 0..1; the sum is 1.
        data: path or name of the data; None for a store in memory.
        out: folder of journal, runs and report.
        command: the command line, for the record.
    """

    recipe: Recipe
    space: Space
    trials: list[Tried]
    running: int
    importance: dict[str, float]
    data: str | None
    out: Path
    command: str | None

    @property
    def complete(self) -> list[Tried]:
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def best(self) -> Tried | None:
        """The complete trial with the highest validation accuracy; the earliest if several share it."""
        return max(self.complete, key=lambda trial: trial.accuracy or 0, default=None)

    @property
    def first_problem(self) -> str:
        """The reason why no trial was completed, for a message."""
        return next((trial.problem for trial in self.trials if trial.problem), "all pruned")

    @property
    def best_path(self) -> Path:
        """The file of the best recipe, for `mien train`."""
        return self.out / "best.json"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        best = self.best
        return {
            "recipe": self.recipe.name,
            "space": self.space.to_dict(),
            "best": None if best is None else best.number,
            "best_recipe": None if best is None else str(self.best_path),
            "importance": self.importance,
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
            "command": self.command,
        }


def summarise(job: SweepJob) -> Sweep:
    """Read the journal and the runs of a sweep."""
    tried, study = [], job.study()
    for trial in ended_trials(study):
        folder = job.run_folder(trial)
        run = RunFolder(folder)
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        tried.append(
            Tried(
                number=trial.number,
                state=states[trial.state.name],
                settings=trial.params,
                accuracy=trial.value if trial.value is not None else last_value(trial),
                epochs=len(run.history()),
                seconds=run.seconds(),
                run=str(folder),
                problem=trial.user_attrs.get(PROBLEM),
            )
        )
    data = None if isinstance(job.data, FaceStore) else str(job.data)
    running, shares = len(running_trials(study)), _importance(study)
    return Sweep(job.recipe, job.space, tried, running, shares, data, job.out, job.command)


def _importance(study: optuna.Study) -> dict[str, float]:
    """Share of the variance of accuracy that each setting explains, largest first (fANOVA, Hutter et al. 2014).

    Empty if fewer than four trials were completed, or all with the same accuracy.
    """
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or np.ptp([trial.value for trial in complete]) == 0:
        return {}
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
