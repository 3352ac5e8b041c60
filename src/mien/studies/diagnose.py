"""Diagnose why a recipe overfits: trials that change one thing each, as many as fit a budget."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien import api
from mien.data.ferplus import read_votes
from mien.data.splits import needed, split
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError
from mien.files import claim
from mien.recipe import to_dict
from mien.runs import RunFolder
from mien.studies.diagnosis_page import write_diagnosis
from mien.studies.plan import Diagnosis, Pace, choose_base, plan
from mien.studies.trials import complete

if TYPE_CHECKING:
    from mien.models import OwnFile
    from mien.training import Recipe, Watcher


def diagnose(
    recipe: str | Path | Recipe,
    data: str | Path | FaceStore = "synthetic",
    *,
    budget: float,
    out: Path | str,
    votes: Path | str | None = None,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    imported: str | Path | None = None,
    watchers: Sequence[Watcher] | None = None,
    command: str | None = None,
) -> Diagnosis:
    """Train the trials of a recipe that fit a budget, and write the page of the diagnosis.

    Finished trials in `out` are kept and cost nothing, so a second call with a larger budget adds to
    the first. All comparisons are on validation faces; test faces are not used.

    Args:
        recipe: a name or a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        budget: minutes of training, above 0.
        out: the folder of trials and report.
        votes: FER+'s fer2013new.csv, for the question of wrong labels.
        overrides, labels, skip_damaged, device, imported: as for `train`.
        watchers: told of every epoch of every trial; by default one that prints.
        command: the command line, for the record.

    Raises:
        InputError: the budget is too small for the first three trials, the votes do not match the data, the
            recipe has a teacher, or the folder holds another diagnosis.
        StoppedError: SIGINT or SIGTERM; finished trials are kept and on the page.
    """
    from mien import models, training

    if not budget > 0:
        raise InputError(f"--budget {budget:g}: give minutes, above 0")
    own = None if imported is None else models.import_own(imported)
    chosen = api.chosen_recipe(recipe, overrides)
    if chosen.targets.teacher is not None:
        raise InputError(
            f"targets.teacher={chosen.targets.teacher}: trials train on shares of the faces, and soft targets are of "
            "all of them; set targets.teacher=none"
        )
    models.pick_device(device)
    ballots = read_votes(Path(votes)) if votes is not None else None
    store = api.load_for(chosen, data, labels, skip_damaged=skip_damaged)
    joined = ballots.join(store) if ballots is not None else None
    chosen = dataclasses.replace(chosen, expressions=store.expressions)
    splits = split(store, chosen.split)
    train = needed(splits.train, "train")
    validation = needed(splits.validation, "validation")
    out = Path(out)
    seconds = 60 * budget
    base, pace = _begin(chosen, out, seconds, train, validation, device, own)
    if watchers is None:
        watchers = [training.TerminalWatcher()]
    diagnosis = Diagnosis(chosen, base, train, validation, {}, {}, joined, seconds, out)
    try:
        _run_trials(diagnosis, pace, device, watchers, command, own)
    finally:
        if diagnosis.outcomes:
            write_diagnosis(diagnosis)
    return diagnosis


def _run_trials(
    diagnosis: Diagnosis,
    pace: Pace,
    device: str,
    watchers: Sequence[Watcher],
    command: str | None,
    own: OwnFile | None,
) -> None:
    """Run the steps of the plan in order, without those that do not fit the rest of the budget."""
    train, validation = diagnosis.train, diagnosis.validation
    started = time.monotonic()
    steps = plan(diagnosis.recipe, diagnosis.base)
    diagnosis.left_out.update((step, pace.seconds(step.trial, train, validation)) for step in steps)
    for step in steps:
        folder = diagnosis.out / step.trial.name
        done = _share_done(folder)
        expected = pace.seconds(step.trial, train, validation) * (1 - done)
        left = diagnosis.budget - (time.monotonic() - started)
        if done < 1 and expected > left and diagnosis.outcomes:
            diagnosis.left_out[step] = expected
            continue
        outcome = complete(
            step.trial,
            train,
            validation,
            folder,
            device,
            watchers=watchers,
            command=command,
            own=own,
            all_train_faces=diagnosis.votes is not None and step is steps[0],
        )
        del diagnosis.left_out[step]
        diagnosis.outcomes[step] = outcome
        if step is steps[0]:
            pace.learn(step.trial, train, validation, outcome.seconds)


def _begin(
    recipe: Recipe,
    out: Path,
    budget: float,
    train: FaceView,
    validation: FaceView,
    device: str,
    own: OwnFile | None,
) -> tuple[float, Pace]:
    """Read base share and pace from the diagnosis in `out`; if there is none, measure and choose them."""

    def measured() -> dict[str, float]:
        pace = Pace.probe(recipe, train, validation, device)
        base = choose_base(recipe, budget, pace, train, validation)
        return {"base": base, "seconds_per_unit": pace.seconds_per_unit}

    path = out / "plan.json"
    identity = {"recipe": to_dict(recipe), "data": train.store.fingerprint}
    identity |= {} if own is None else own.notes
    content = claim(path, identity, "a diagnosis", measured)
    try:
        return float(content["base"]), Pace(float(content["seconds_per_unit"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); choose another --out") from error


def _share_done(folder: Path) -> float:
    """Share of a trial's epochs that its folder holds, 0..1."""
    if not (folder / "recipe.json").is_file():
        return 0.0
    run = RunFolder.open(folder)
    return 1.0 if run.is_finished() else len(run.history()) / run.recipe().epochs
