"""Training runs from a recipe and faces, and making a student's soft targets from runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien import data as faces_of
from mien.api.inputs import chosen_recipe, is_model_file, load_for, open_model
from mien.callbacks import Progress
from mien.data.exclusions import read_exclusions
from mien.data.splits import Splits, needed
from mien.data.store import FaceStore, FaceView
from mien.errors import InputError
from mien.files import alone
from mien.recipe import refuse_seed
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.models import OwnFile
    from mien.recognise.model import FaceModel
    from mien.training import Outlook, Recipe, Watcher
    from mien.training.teaching import Teaching

#: The default folder of runs.
RUNS = Path("runs")


def train(
    recipe: str | Path | Recipe,
    data: str | Path | FaceStore = "synthetic",
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    checkpoint_every: str = "10m",
    compiled: bool = False,
    exclude: str | Path | None = None,
    skip_damaged: bool = False,
    imported: str | Path | None = None,
    track: Sequence[str] = (),
    watchers: Sequence[Watcher] | None = None,
    command: str | None = None,
) -> RunFolder:
    """Train a recipe: fit the training split, select on validation. The test split is not passed to training.

    Args:
        recipe: a name (`mien recipes` lists them), a file (a run's recipe.json, a sweep's best.json) or
            a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        out: the run folder; by default a new one below `runs/`, named after the recipe.
        overrides: `["epochs=3", "optimizer.lr=3e-4"]`.
        init: initial weights in place of the recipe's: a run, a weights file, `hub`, `package` or `none`.
        labels: the label set of the data, if it is not the seven expressions of FER-2013.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        resume: continue the interrupted run in `out`.
        checkpoint_every: also save the state for resuming within an epoch, every `200` steps or `10m`
            minutes, or `none`.
        compiled: let torch compile the step (with CUDA graphs on CUDA): faster steps on a GPU after about a
            minute, with different rounding. If torch cannot, a line says so and training runs uncompiled.
        exclude: a list that `mien data audit` wrote: its faces are left out of the training split only, so
            that validation and test are the same for all runs. The run keeps a copy, which resuming uses.
        skip_damaged: leave out pictures that cannot be decoded; by default they are an error that
            names them.
        imported: a Python file of the user that registers networks, which is run; the run keeps a copy as a
            record. Resuming needs the identical file.
        track: also log to these: `wandb`, `wandb-offline`, `tensorboard`, `mlflow`.
        watchers: called with the plan and each epoch; by default one prints to standard error, and one
            keeps `training.png` (the curves) and `training-faces.png` (some faces after augmentation) in
            the run folder. `[]` prints and draws nothing.
        command: the command line, for the record.

    Returns:
        The run.

    Raises:
        MienError: an input is wrong or training failed; the message has the fault and the remedy.

    >>> run = train("basic-cnn", "synthetic:100", "runs/first", overrides=["epochs=3"])  # doctest: +SKIP
    >>> run.recipe().epochs  # doctest: +SKIP
    3
    """
    from mien import training

    training.Interval.parse(checkpoint_every)
    # First: the recipe may use networks that this file registers.
    own = _import(imported, Path(out) if resume and out is not None else None)
    tracking = training.trackers_named(track)
    ready = _ready(
        recipe, data, out, overrides, init, labels, device, resume, exclude, skip_damaged
    )
    if watchers is None:
        watchers = training.usual_watchers(plan=not resume)
    if watchers and training.is_first():
        plan = ready.outlook(device)
        for watcher in watchers:
            watcher.planned(plan)
    pictured = any(isinstance(watcher, training.PictureWatcher) for watcher in watchers)
    sheet = [training.SheetWatcher(ready.fitted)] if pictured else []
    exclusions = None if ready.exclude is None else ready.exclude.read_bytes()
    return training.train(
        ready.recipe,
        ready.fitted,
        ready.splits.validation,
        ready.folder,
        device=device,
        resume=resume,
        checkpoint_every=checkpoint_every,
        compiled=compiled,
        watchers=[*watchers, *sheet, *tracking],
        notes={"command": command, **_about_exclusions(ready, exclusions)},
        own=own,
        exclusions=exclusions,
    )


def plan(
    recipe: str | Path | Recipe,
    data: str | Path | FaceStore = "synthetic",
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    exclude: str | Path | None = None,
    skip_damaged: bool = False,
    imported: str | Path | None = None,
) -> Outlook:
    """The plan of `train` for the same arguments: faces, network and cost. Nothing is trained or written.

    Raises:
        MienError: as `train`.
    """
    import torch

    from mien import training

    _import(imported, None)
    ready = _ready(recipe, data, out, overrides, init, labels, device, False, exclude, skip_damaged)
    # Refuses votes and soft targets of other faces, as `train` does.
    training.Supervision(ready.recipe, ready.fitted, torch.from_numpy(ready.fitted.labels))
    return ready.outlook(device)


@dataclass(frozen=True)
class _Ready:
    """The checked inputs of a training."""

    recipe: Recipe
    folder: Path
    store: FaceStore
    splits: Splits
    fitted: FaceView
    exclude: Path | None

    def outlook(self, device: str) -> Outlook:
        from mien import training

        return training.outlook(
            self.recipe, self.store, self.splits, self.fitted, device, self.folder
        )


def _ready(
    recipe: str | Path | Recipe,
    data: str | Path | FaceStore,
    out: str | Path | None,
    overrides: Sequence[str],
    init: str | Path | None,
    labels: Sequence[str] | None,
    device: str,
    resume: bool,
    exclude: str | Path | None,
    skip_damaged: bool,
) -> _Ready:
    """Check the arguments of `train` and load the data; checks come first, as loading may take minutes."""
    from mien import models, training

    chosen = chosen_recipe(recipe, overrides, init)
    if resume and out is None:
        raise InputError("--resume needs --out: the folder of the run to continue")
    folder = Path(out) if out is not None else _free_folder(RUNS / chosen.name)
    if any(folder.glob("seed-*/recipe.json")):
        raise InputError(f"{folder}: holds runs of several seeds; choose another --out")
    # Other processes may be on machines without access to the folder.
    if resume and training.is_first():
        RunFolder.open(folder)
        # Fail before the data are read; the training loop holds the lock.
        with alone(folder, "is training"):
            pass
    elif not resume:
        RunFolder(folder).refuse_if_taken()
    models.pick_device(device)
    _check_network(chosen, folder)
    store = load_for(chosen, data, labels, skip_damaged=skip_damaged)
    chosen = replace(chosen, expressions=store.expressions)
    splits = faces_of.split(store, chosen.split)
    kept = RunFolder(folder).exclusions_path
    if exclude is None and resume and kept.is_file():
        exclude = kept
    listed = None if exclude is None else Path(exclude)
    fitted = splits.train if listed is None else read_exclusions(listed).applied(splits.train)
    needed(fitted, "train")
    needed(splits.validation, "validation")
    return _Ready(chosen, folder, store, splits, fitted, listed)


def train_seeds(
    seeds: Sequence[int] | str,
    recipe: str | Path | Recipe,
    data: str | Path | FaceStore = "synthetic",
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    labels: Sequence[str] | None = None,
    resume: bool = False,
    skip_damaged: bool = False,
    imported: str | Path | None = None,
    track: Sequence[str] = (),
    watchers: Sequence[Watcher] | None = None,
    exclude: str | Path | None = None,
    **options: Any,
) -> list[RunFolder]:
    """Train a recipe once for each seed, into `out/seed-N`; all other arguments as for `train`.

    `seeds` are numbers, or a text such as `"0-4"` or `"0,2,7"`. `resume` continues the seeds that were begun,
    and starts the others, with the same exclusions.

    Returns:
        The runs, in the order of `seeds`.

    Raises:
        MienError: as `train`.
    """
    from mien import training

    if isinstance(seeds, str):
        seeds = parse_seeds(seeds)
    refuse_seed(overrides)
    if not resume:
        _import(imported, None)
    chosen = chosen_recipe(recipe, overrides, init)
    if resume and out is None:
        raise InputError("--resume needs --out: the folder of the runs to continue")
    folder = Path(out) if out is not None else _free_folder(RUNS / chosen.name)
    begun = _begun(folder, seeds, resume=resume)
    for seed in sorted(begun):
        _import(imported, folder / f"seed-{seed}")
    # These checks come before the data are read, which may take minutes.
    if begun < set(seeds):
        _check_network(chosen, folder)
    if exclude is None:
        lists = (RunFolder(folder / f"seed-{seed}").exclusions_path for seed in sorted(begun))
        exclude = next(filter(Path.is_file, lists), None)
    training.trackers_named(track)
    store = load_for(chosen, data, labels, skip_damaged=skip_damaged)

    def lookers_on(number: int) -> Sequence[Watcher]:
        """The watchers of one run; the plan is the same for all seeds, so only the first one prints it."""
        return training.usual_watchers(plan=not number) if watchers is None else watchers

    return [
        train(
            replace(chosen, seed=seed),
            store,
            folder / f"seed-{seed}",
            resume=seed in begun,
            imported=imported,
            track=track,
            watchers=lookers_on(number),
            exclude=exclude,
            **options,
        )
        for number, seed in enumerate(seeds)
    ]


def _begun(folder: Path, seeds: Sequence[int], *, resume: bool) -> set[int]:
    """The seeds whose runs are in a folder already.

    Raises:
        InputError: there is a run and it is not to be resumed, or the other way round.
    """
    if (folder / "recipe.json").exists():
        raise InputError(f"{folder}: holds a single run; choose another --out")
    begun = {seed for seed in seeds if (folder / f"seed-{seed}" / "recipe.json").exists()}
    if begun and not resume:
        RunFolder(folder / f"seed-{min(begun)}").refuse_if_taken()
    if resume and not begun:
        raise InputError(
            f"{folder}: there is no run of these seeds to continue; start without --resume"
        )
    return begun


def teach(
    teachers: str | Path | RunFolder | Sequence[str | Path | RunFolder],
    recipe: str | Path | Recipe,
    data: str | Path | FaceStore = "synthetic",
    *,
    out: str | Path,
    views: int = 20,
    seed: int = 0,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    exclude: str | Path | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    imported: str | Path | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Teaching:
    """Make soft targets for a student: the mean answers of trained networks for views of the training faces.

    Then train the student with `targets.teacher=OUT` and the same recipe. Views that `out` has are kept.

    Args:
        teachers: run folders, folders of seeds, or model files (`mien-people` too); their probabilities are
            averaged.
        recipe: the student's recipe, a name or a Recipe: its augmentation and input make the views.
        data: the student's training data: a path, `synthetic`, `synthetic:N`, or a store.
        out: the folder of the soft targets.
        views: number of views of each face; a student with more epochs sees them repeatedly.
        seed: of the views.
        exclude: as for `train`; the student needs the same list.
        overrides, labels, skip_damaged, device, command: as for `train`; model files cannot answer on `mps`.
        imported: the file of your own that teachers were trained with or that has the student's network; it
            is run. Teachers that were trained with another file are refused.
        progress: told (faces done, faces in all) after each batch.
    """
    from mien import models, training

    if isinstance(teachers, str | Path | RunFolder):
        teachers = [teachers]
    named: list[RunFolder | FaceModel] = []
    for one in teachers:
        if isinstance(one, RunFolder) or not is_model_file(one):
            named += RunFolder.expand(one)
        else:
            named.append(open_model(one, device))
    runs = [one for one in named if isinstance(one, RunFolder)]
    if imported is not None:
        own = models.OwnFile.read(imported)
        for run in runs:
            if run.imported() is not None:
                models.refuse_another_file(run, own)
        models.import_own(imported)
    for run in runs:
        models.refuse_unknown(run)
    chosen = chosen_recipe(recipe, overrides)
    if chosen.targets.teacher is not None:
        raise InputError(
            f"targets.teacher={chosen.targets.teacher}: `mien teach` makes new soft targets, and the student gets "
            "those; leave it out, or set targets.teacher=none"
        )
    store = load_for(chosen, data, labels, skip_damaged=skip_damaged)
    chosen = replace(chosen, expressions=store.expressions)
    train_faces = faces_of.split(store, chosen.split).train
    if exclude is not None:
        train_faces = read_exclusions(exclude).applied(train_faces)
    needed(train_faces, "train")
    return training.teach(
        named,
        chosen,
        train_faces,
        Path(out),
        views=views,
        seed=seed,
        device=device,
        progress=progress,
        notes={"command": command},
    )


def _about_exclusions(ready: _Ready, content: bytes | None) -> dict[str, Any]:
    """The run's notes about its list of exclusions."""
    if content is None:
        return {}
    digest = hashlib.sha256(content).hexdigest()
    left_out = len(ready.splits.train) - len(ready.fitted)
    return {"exclude": {"file": str(ready.exclude), "sha256": digest, "faces": left_out}}


def _import(path: str | Path | None, resumed: Path | None) -> OwnFile | None:
    """Run the user's file of --import; a resumed run only accepts the file that it was begun with."""
    from mien import models

    run = None if resumed is None or not resumed.is_dir() else RunFolder.open(resumed)
    if path is not None:
        return models.import_own(path, run)
    if run is not None:
        models.refuse_unknown(run)
    return None


def _check_network(recipe: Recipe, folder: Path) -> None:
    """Refuse missing votes and soft targets, unknown options of the network, and initial weights that do not fit."""
    from mien import models, training

    training.check_targets(recipe)
    name, options = recipe.model.name, recipe.model.options
    models.entry(name).options(options)
    if recipe.init is not None and not RunFolder(folder).has_state:
        models.check_init(recipe.init, recipe.input, name, options)


def parse_seeds(text: str) -> list[int]:
    """Parse seeds such as `0-4` or `0,2,7`.

    Raises:
        InputError: the text has another form, or a seed twice.

    >>> parse_seeds("0-2,7")
    [0, 1, 2, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not (last.isdecimal() and int(last) >= int(first))):
            raise InputError(f"--seeds {text}: write it as 0-4 or 0,2,7")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"--seeds {text}: write it as 0-4 or 0,2,7, each seed once")
    return seeds


def _free_folder(wanted: Path) -> Path:
    """`wanted`, or `wanted-2`, `wanted-3` ... if it exists already."""
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
