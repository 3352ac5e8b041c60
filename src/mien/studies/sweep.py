"""Search for the settings of a recipe with the best validation accuracy: Optuna chooses, a journal records.

The journal is the only record of the trials, their settings and their results. The same command therefore
resumes a stopped sweep, also with more trials or fewer workers, and resumes half-trained trials in their own
run folders. Other machines that share the folder join with the same command. Test faces are not used.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from mien import api
from mien.callbacks import Say
from mien.data.store import FaceStore
from mien.errors import InputError, quantity
from mien.files import claim, together
from mien.recipe import listed
from mien.studies.sweep_result import Sweep, summarise
from mien.studies.sweep_space import read_space
from mien.studies.sweep_trials import SweepJob, train_trials
from mien.training import Recipe, to_dict


def sweep(
    recipe: str | Path | Recipe,
    data: str | Path | FaceStore = "synthetic",
    *,
    space: str | Path,
    trials: int,
    out: str | Path,
    workers: int = 1,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    imported: str | Path | None = None,
    say: Say = print,
    command: str | None = None,
) -> Sweep:
    """Train a recipe with settings from a space, and write a report of the trials, the best first.

    Args:
        recipe: a name, a recipe's file or a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        space: the file of fields and ranges: see `sweep_space`.
        trials: number of trials in all, with those that `out` already holds.
        out: folder of journal, runs and report. If another process works in it, on this machine or another,
            both train trials of the same sweep.
        workers: trials at a time on this machine; they share its cores.
        overrides, labels, skip_damaged, device, imported: as for `train`.
        say: told of every trial; must be picklable if there are several workers.
        command: the command line, for the record.

    Returns:
        All trials that the folder holds, the best of them, and the importance of each setting.

    Raises:
        InputError: the space does not fit the recipe, the folder holds another sweep, or no trial could be
            completed.
        MienError: a worker process died; the same command resumes.
        StoppedError: SIGINT or SIGTERM; all trials are saved, and the same command resumes.
    """
    from mien import models
    from mien.studies.sweep_page import write_sweep

    if trials < 1 or workers < 1:
        raise InputError("--trials and --workers are 1 or more")
    own = None if imported is None else models.import_own(imported)
    chosen = api.chosen_recipe(recipe, overrides)
    found = read_space(Path(space), chosen)
    for assignment in listed(overrides):
        if (field := assignment.partition("=")[0].strip()) in found.distributions():
            raise InputError(
                f"--set {assignment}: {space} sweeps {field}; leave it out in one of the two"
            )
    models.pick_device(device)
    store = api.load_for(chosen, data, labels, skip_damaged=skip_damaged)
    chosen = dataclasses.replace(chosen, expressions=store.expressions)
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
    job = SweepJob(
        chosen, found, trials, data, labels, skip_damaged, Path(out), device, threads, command, own
    )
    job.faces()  # raises at once if a split is empty
    identity = {"recipe": to_dict(chosen), "space": found.to_dict(), "data": store.fingerprint}
    identity |= {} if own is None else own.notes
    claim(job.plan_path, identity, "a sweep")
    with together(job.plan_path, job.take_up):
        try:
            train_trials(job, workers, say)
        finally:
            with job.turn():  # the last process to end writes the trials of all
                summary = summarise(job)
                write_sweep(summary)
    if left := summary.running:
        say(
            f"with other processes: {quantity(left, 'trial')}; the last of them writes the whole page"
        )
    elif summary.best is None:
        raise InputError(f"{out}: no trial was completed ({summary.first_problem})")
    return summary
