"""Why does a recipe overfit? Trials that change one thing each, as many as a budget allows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien import api
from mien.data.ferplus import LabelledVotes, read_votes
from mien.data.splits import needed, split
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError
from mien.files import holds_something, read_json, write_json
from mien.runs import RunFolder
from mien.studies.plan import Pace, Step, choose_base, plan
from mien.studies.trials import Outcome, complete

if TYPE_CHECKING:
    from mien.training import Recipe, Watcher


@dataclass(frozen=True)
class Diagnosis:
    """What the trials of one recipe gave.

    Attributes:
        recipe: the recipe in question.
        base: share of the training faces that the trials use, but for those of the learning curve.
        train, validation: the faces of the recipe's split, whole.
        outcomes: step -> outcome, in the order of the plan.
        left_out: step -> the seconds it would have taken.
        votes: what FER+ annotators say of the store's faces, or None.
        budget: seconds that were allowed.
        out: the folder of it all.
    """

    recipe: Recipe
    base: float
    train: FaceView
    validation: FaceView
    outcomes: dict[Step, Outcome]
    left_out: dict[Step, float]
    votes: LabelledVotes | None
    budget: float
    out: Path

    @property
    def baseline(self) -> Outcome:
        """The recipe as it is, on the base share."""
        return next(iter(self.outcomes.values()))

    def of(self, factor: str) -> list[Outcome]:
        """The outcomes that answer one question."""
        return [outcome for step, outcome in self.outcomes.items() if step.factor == factor]


def diagnose(
    recipe: str | Recipe,
    data: str | Path | FaceStore = "synthetic",
    *,
    budget: float,
    out: Path | str,
    votes: Path | str | None = None,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    device: str = "auto",
    watchers: Sequence[Watcher] | None = None,
    command: str | None = None,
) -> Diagnosis:
    """Train the trials of a recipe that fit a budget, and write what they show.

    Finished trials in `out` are kept and cost nothing, so a second call with a larger budget adds to
    the first. Validation decides everything; no test face is looked at.

    Args:
        recipe: a name or a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        budget: minutes of training, above 0.
        out: the folder of trials and report.
        votes: FER+'s fer2013new.csv, for the question of wrong labels.
        overrides, labels, device: as for `train`.
        watchers: told of every epoch of every trial; by default one that prints.
        command: the command line, for the record.

    Raises:
        InputError: a budget in which not even the first trials fit, votes that do not match the data,
            a folder that holds another diagnosis.
        StoppedError: SIGINT or SIGTERM; what was finished is kept and on the page.
    """
    from mien import models, training
    from mien.studies.diagnosis_page import write_diagnosis

    if not budget > 0:
        raise InputError(f"--budget {budget:g}: give minutes, above 0")
    chosen = api.chosen_recipe(recipe, overrides)
    models.pick_device(device)
    ballots = read_votes(Path(votes)) if votes is not None else None
    store = api.load_for(chosen, data, labels)
    joined = ballots.join(store) if ballots is not None else None
    chosen = dataclasses.replace(chosen, expressions=store.expressions)
    splits = split(store, chosen.split)
    train = needed(splits.train, "train")
    validation = needed(splits.validation, "validation")
    out = Path(out)
    seconds = 60 * budget
    base, pace = _begin(chosen, out, seconds, train, validation, device)
    if watchers is None:
        watchers = [training.TerminalWatcher()]
    diagnosis = Diagnosis(chosen, base, train, validation, {}, {}, joined, seconds, out)
    try:
        _run_trials(diagnosis, pace, device, watchers, command)
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
) -> None:
    """Complete the steps of the plan that fit what is left of the budget, one after the other."""
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
            all_train_faces=diagnosis.votes is not None and step is steps[0],
        )
        del diagnosis.left_out[step]
        diagnosis.outcomes[step] = outcome
        if step is steps[0]:
            pace.learn(step.trial, train, validation, outcome.seconds)


def _begin(
    recipe: Recipe, out: Path, budget: float, train: FaceView, validation: FaceView, device: str
) -> tuple[float, Pace]:
    """The base share and the pace: those of the diagnosis that `out` holds, else chosen and measured."""
    path = out / "plan.json"
    identity = _identity(recipe, train.store)
    if path.is_file():
        before = read_json(path, "choose another --out")
        try:
            base, pace = float(before["base"]), Pace(float(before["seconds_per_unit"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error!r}); choose another --out") from error
        if before.get("identity") != identity:
            raise InputError(
                f"{out}: holds a diagnosis of {before.get('recipe')} with other settings or data; "
                "choose another --out"
            )
        return base, pace
    if holds_something(out):
        raise InputError(f"{out}: holds something else; choose another --out, or a new one")
    pace = Pace.probe(recipe, train, validation, device)
    base = choose_base(recipe, budget, pace, train, validation)
    out.mkdir(parents=True, exist_ok=True)
    content = {"recipe": recipe.name, "identity": identity, "base": base}
    write_json(path, content | {"seconds_per_unit": pace.seconds_per_unit})
    return base, pace


def _identity(recipe: Recipe, store: FaceStore) -> str:
    """A digest of the recipe and the data."""
    from mien.training import to_dict

    return hashlib.sha256(
        json.dumps([to_dict(recipe), store.fingerprint], sort_keys=True).encode()
    ).hexdigest()


def _share_done(folder: Path) -> float:
    """How much of a trial lies there trained, 0..1."""
    if not (folder / "recipe.json").is_file():
        return 0.0
    run = RunFolder.open(folder)
    return 1.0 if run.is_finished() else len(run.history()) / run.recipe().epochs
