"""The trials of a sweep under Ray Tune: Optuna still chooses them, the journal still keeps them.

Ray deals them out to the workers of a cluster and stops the poor ones by asynchronous successive
halving (ASHA: Li et al. 2020). Every machine needs mien with its 'sweep' and 'scale' extras, and sees
the same paths.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.callbacks import Say
from mien.cluster import ray_cluster
from mien.errors import MienError, extra_required
from mien.studies.sweep_trials import FOLDER, PROBLEM, SweepJob, line, train_trial

if TYPE_CHECKING:
    import optuna

_ACCURACY, _EPOCH, _KEPT = "validation_accuracy", "epoch", "kept_accuracy"


def run_on_ray(job: SweepJob, count: int, workers: int, say: Say) -> None:
    """Train `count` trials, `workers` at a time."""
    with extra_required("scale", "mien sweep --engine ray"):
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search import Searcher

    class FromJournal(Searcher):
        """Hands out the trials of the journal, and writes down what came of them."""

        def __init__(self) -> None:
            super().__init__(metric=_ACCURACY, mode="max")
            self._study = job.study()
            self._trials: dict[str, optuna.Trial] = {}

        def suggest(self, trial_id: str) -> dict[str, Any] | None:
            trial = self._study.ask(job.space.distributions())
            trial.set_user_attr(FOLDER, job.run_folder(trial).name)
            self._trials[trial_id] = trial
            return {"folder": str(job.run_folder(trial).absolute()), "settings": trial.params}

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            if PROBLEM not in result and _KEPT not in result:
                self._trials[trial_id].report(result[_ACCURACY], result[_EPOCH])

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            from optuna.trial import TrialState

            trial, last = self._trials[trial_id], result or {}
            if error or PROBLEM in last:
                trial.set_user_attr(PROBLEM, last.get(PROBLEM, "its worker died"))
                ended = self._study.tell(trial, state=TrialState.FAIL)
            elif _KEPT in last:
                ended = self._study.tell(trial, last[_KEPT])
            else:
                if last:  # the result that it was stopped for is told here alone
                    self.on_trial_result(trial_id, last)
                ended = self._study.tell(trial, state=TrialState.PRUNED)
            say(line(ended))

        def save(self, checkpoint_path: str) -> None:
            """The journal is what is kept."""

        def restore(self, checkpoint_path: str) -> None:
            """Nor is anything but the journal gone on from."""

    grace = max(1, round(0.2 * job.recipe.epochs))
    # One more than the last epoch: whoever gets there has to be told of, not stopped.
    longest = max([job.recipe.epochs, *_epochs(job)]) + 1
    with ray_cluster("scale", "mien sweep --engine ray") as ray:
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
        needs: dict[str, float] = {"cpu": cores}
        if job.device.startswith("cuda") or (job.device == "auto" and _has_gpu(ray)):
            needs["gpu"] = 1
        tuner = tune.Tuner(
            tune.with_resources(partial(_train, job=job, threads=cores), needs),
            tune_config=tune.TuneConfig(
                metric=_ACCURACY,
                mode="max",
                num_samples=count,
                max_concurrent_trials=workers,
                search_alg=FromJournal(),
                scheduler=ASHAScheduler(time_attr=_EPOCH, max_t=longest, grace_period=grace),
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str((job.out / "ray").absolute()), verbose=0
            ),
        )
        with redirect_stdout(sys.stderr):  # results of ours alone go to standard output
            tuner.fit()


def _train(config: dict[str, Any], *, job: SweepJob, threads: int) -> None:
    """One trial, on some machine of the cluster."""
    import torch
    from ray import tune

    torch.set_num_threads(threads)
    last = {_ACCURACY: 0.0, _EPOCH: 0}

    def on_epoch(epoch: int, accuracy: float, _last: bool) -> None:
        last.update({_ACCURACY: accuracy, _EPOCH: epoch})
        tune.report(dict(last))

    try:
        kept = train_trial(job, Path(config["folder"]), config["settings"], job.faces(), on_epoch)
    except MienError as error:
        tune.report(last | {PROBLEM: str(error), _EPOCH: last[_EPOCH] + 1})
    else:
        tune.report(last | {_KEPT: kept, _EPOCH: last[_EPOCH] + 1})


def _epochs(job: SweepJob) -> list[int]:
    """The most epochs that the space allows, where it says something of them."""
    return [
        int(text)
        for dimension in job.space
        if dimension.name == "epochs"
        for text in dimension.values.examples
    ]


def _has_gpu(ray: Any) -> bool:
    return bool(ray.cluster_resources().get("GPU", 0))
