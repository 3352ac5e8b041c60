"""What came of a sweep: its trials, the best of them, and what mattered."""

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
    """A trial that came to an end.

    state: `complete`, `pruned` (it did worse than others and was stopped) or `failed`.
    accuracy: on validation, 0..1: of the kept weights, or the last before it was pruned.
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
    """A sweep as it stands: its trials in the order they began, `importance` of each setting (sums to 1).

    `running` trials did not end yet. `data` is where the faces lie, None for a store in memory.
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
        """The complete trial of the highest validation accuracy, the earliest of several."""
        return max(self.complete, key=lambda trial: trial.accuracy or 0, default=None)

    @property
    def first_problem(self) -> str:
        """Why no trial was completed."""
        return next((trial.problem for trial in self.trials if trial.problem), "all pruned")

    @property
    def best_path(self) -> Path:
        """The best recipe, a file that `mien train` takes."""
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
    """What the journal and the runs tell."""
    tried, study = [], job.study()
    for trial in ended_trials(study):
        folder = job.run_folder(trial)
        history = RunFolder(folder).history()
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        tried.append(
            Tried(
                number=trial.number,
                state=states[trial.state.name],
                settings=trial.params,
                accuracy=trial.value if trial.value is not None else last_value(trial),
                epochs=len(history),
                seconds=sum(row["seconds"] for row in history),
                run=str(folder),
                problem=trial.user_attrs.get(PROBLEM),
            )
        )
    data = None if isinstance(job.data, FaceStore) else str(job.data)
    running, shares = len(running_trials(study)), _importance(study)
    return Sweep(job.recipe, job.space, tried, running, shares, data, job.out, job.command)


def _importance(study: optuna.Study) -> dict[str, float]:
    """How much of the variance of accuracy each setting explains (fANOVA: Hutter et al. 2014), most first.

    Empty where too few trials were completed to say.
    """
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or np.ptp([trial.value for trial in complete]) == 0:
        return {}
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
