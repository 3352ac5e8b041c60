"""Which settings of a recipe do best on validation? Trials that Optuna chooses, kept in a journal.

The journal is the one record: which trials there are, what they were given, what came of them. So the
same command goes on where it was stopped, with more trials or fewer workers; a trial that was half
trained goes on in its own run folder. Trials run in processes on this machine or, by `sweep_on_ray`,
under Ray Tune on a cluster. No test face is looked at.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mien import api
from mien.callbacks import Say
from mien.data.store import FaceStore
from mien.errors import InputError, extra_required
from mien.files import alone, claim
from mien.studies.sweep_result import Sweep, ended_trials, summarise
from mien.studies.sweep_space import read_space
from mien.studies.sweep_trials import FOLDER, INSTEAD_OF, SweepJob, in_parallel, one_after_another
from mien.training import Recipe, to_dict

with extra_required("sweep", "mien sweep"):
    import optuna

Engine = Literal["optuna", "ray"]


def sweep(
    recipe: str | Recipe,
    data: str | Path | FaceStore = "synthetic",
    *,
    space: str | Path,
    trials: int,
    out: str | Path,
    engine: Engine = "optuna",
    workers: int = 1,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    device: str = "auto",
    imported: str | Path | None = None,
    say: Say = print,
    command: str | None = None,
) -> Sweep:
    """Train a recipe with settings out of a space, and write which did best on validation.

    Args:
        recipe: a name, a recipe's file or a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        space: the file of fields and ranges: see `sweep_space`.
        trials: how many in all; those that `out` holds count.
        out: folder of journal, runs and report.
        engine: `optuna`: workers are processes on this machine, poor trials are stopped by the
            median of the others; `ray`: workers are those of a Ray cluster, by successive halving.
        workers: trials at a time; they share this machine's cores.
        overrides, labels, device, imported: as for `train`.
        say: told of every trial; must be picklable where there are several workers.
        command: the command line, for the record.

    Raises:
        InputError: a space that does not fit the recipe, a folder that holds another sweep, settings
            of which not one could be trained.
        StoppedError: SIGINT or SIGTERM; all that was trained is kept, the same command goes on.
    """
    from mien import models
    from mien.studies.sweep_page import write_sweep

    if trials < 1 or workers < 1:
        raise InputError("--trials and --workers are 1 or more")
    if engine not in ("optuna", "ray"):
        raise InputError(f"--engine {engine}: use optuna or ray")
    own = None if imported is None else models.import_own(imported)
    chosen = api.chosen_recipe(recipe, overrides)
    found = read_space(Path(space), chosen)
    models.pick_device(device)
    store = api.load_for(chosen, data, labels)
    chosen = dataclasses.replace(chosen, expressions=store.expressions)
    out = Path(out)
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
    job = SweepJob(chosen, found, data, labels, out, device, threads, command, own)
    job.faces()  # splits that cannot be trained on are said at once
    identity = {"recipe": to_dict(chosen), "space": found.to_dict(), "data": store.fingerprint}
    identity |= {} if own is None else own.notes
    claim(out / "plan.json", identity, "a sweep")
    # It would take over the trials of another.
    with alone(out, "is sweeping"):
        job.mend_journal()
        study = job.study()
        left = max(0, trials - len(ended_trials(study)) - _take_up(study, job))
        waiting = len(study.get_trials(states=(optuna.trial.TrialState.WAITING,)))
        try:
            if left + waiting:
                _run(job, engine, left + waiting, workers, say)
        finally:
            summary = summarise(job, job.study(), engine)
            write_sweep(summary)
    if summary.best is None:
        problems = [trial.problem for trial in summary.trials if trial.problem]
        raise InputError(
            f"{out}: no trial was completed ({problems[0] if problems else 'all pruned'})"
        )
    return summary


def _run(job: SweepJob, engine: Engine, count: int, workers: int, say: Say) -> None:
    if engine == "ray":
        from mien.studies.sweep_on_ray import run_on_ray

        run_on_ray(job, count, workers, say)
    elif workers == 1:
        one_after_another(job, lambda: True, count, 0, say)
    else:
        in_parallel(job, count, workers, say)


def _take_up(study: optuna.Study, job: SweepJob) -> int:
    """Let what was being trained when the last call ended go on; how many trials wait to be begun.

    InputError while workers of a sweep that was killed still train: they end with their epoch.
    """
    begun = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    for taken in filter(Path.is_dir, map(job.run_folder, begun)):
        with alone(taken, "of a sweep that was killed is still training"):
            pass
    for trial in begun:
        folder = job.run_folder(trial).name
        study.enqueue_trial(trial.params, user_attrs={FOLDER: folder, INSTEAD_OF: trial.number})
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return len(study.get_trials(states=(optuna.trial.TrialState.WAITING,)))
