"""The verbs of mien: what the command line calls, and what a program or a notebook calls."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien import data as faces_of
from mien.data.exclusions import read_exclusions
from mien.data.splits import needed
from mien.data.store import Faces, FaceStore
from mien.errors import InputError
from mien.expressions import SEVEN, parse_expressions
from mien.files import atomic_file
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.card import ModelCard
    from mien.evaluation import Evaluation, Progress, Robustness, Subject
    from mien.exporting import Exported
    from mien.training import Recipe, Watcher
    from mien.training.teaching import Teaching

#: Where runs go when nobody says.
RUNS = Path("runs")


def load(
    data: str | Path = "synthetic",
    *,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
) -> FaceStore:
    """Read faces from any supported source, with a bar on a terminal when it is the first time.

    Args:
        data: a CSV, parquet, archive or folder (recognised by content), `synthetic`, `synthetic:N`.
        labels: the label set of the data, where it is not the challenge's seven.
        size: (height, width) for images of mixed sizes; a uniform source keeps its own.
    """
    return faces_of.load(
        data,
        labels=parse_expressions(labels) if labels is not None else None,
        size=size,
    )


def train(
    recipe: str | Recipe,
    data: str | Path | FaceStore = "synthetic",
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    checkpoint_every: str = "10m",
    exclude: str | Path | None = None,
    track: Sequence[str] = (),
    watchers: Sequence[Watcher] | None = None,
    command: str | None = None,
) -> RunFolder:
    """Train a recipe on Training, select on validation; the test split is never handed on.

    Args:
        recipe: a name (`mien recipes` lists them), a file (a run's recipe.json, a sweep's best.json) or
            a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        out: the run folder; by default a new one below `runs/`, named after the recipe.
        overrides: `["epochs=3", "optimizer.lr=3e-4"]`.
        init: initial weights in place of the recipe's: a run, a weights file, `hub`, `package` or `none`.
        labels: the label set of the data, where it is not the challenge's seven.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        resume: go on with the run in `out` where it was stopped.
        checkpoint_every: save within an epoch too what resuming goes on from, every `200` steps or
            `10m` minutes, or `none`.
        exclude: a list that `mien data audit` wrote: its faces are left out of Training, and of nothing
            else, so that what selects and what tests stays what it is for every run. It is kept in the
            run; resuming takes it from there.
        track: also log to these: `wandb`, `wandb-offline`, `tensorboard`, `mlflow`.
        watchers: told of every epoch; by default one that prints to standard error. `[]` is silence.
        command: the command line, for the record.

    Raises:
        MienError: with one sentence that says what is wrong and what to do.
    """
    from mien import models, training

    chosen = chosen_recipe(recipe, overrides, init)
    if resume and out is None:
        raise InputError("--resume needs --out: the folder of the run to go on with")
    folder = Path(out) if out is not None else _free_folder(RUNS / chosen.name)
    if any(folder.glob("seed-*/recipe.json")):
        raise InputError(f"{folder}: holds runs of several seeds; choose another --out")
    # What can be known to fail is said before the data are read, which may take minutes.
    training.Interval.parse(checkpoint_every)
    if resume and training.is_first():  # the others may be on machines that do not see the folder
        RunFolder.open(folder)
    elif not resume:
        RunFolder(folder).refuse_if_taken()
    models.pick_device(device)
    _check_network(chosen, folder)
    tracking = training.trackers_named(track)
    store = load_for(chosen, data, labels)
    chosen = replace(chosen, expressions=store.expressions)
    splits = faces_of.split(store, chosen.split)
    fitted, notes = _training_faces(splits.train, RunFolder(folder), exclude, resume)
    return training.train(
        chosen,
        needed(fitted, "train"),
        needed(splits.validation, "validation"),
        folder,
        device=device,
        resume=resume,
        checkpoint_every=checkpoint_every,
        watchers=[*([training.TerminalWatcher()] if watchers is None else watchers), *tracking],
        notes={"command": command, **notes},
    )


def _training_faces(
    faces: Faces, run: RunFolder, exclude: str | Path | None, resume: bool
) -> tuple[Faces, dict[str, Any]]:
    """What of Training is fitted, and what the run notes of it; a list of exclusions is kept in the run."""
    if exclude is None and resume and run.exclusions_path.is_file():
        exclude = run.exclusions_path
    if exclude is None:
        return faces, {}
    excluded = read_exclusions(exclude)
    fitted = excluded.applied(faces)
    content = Path(exclude).read_bytes()
    if not resume:
        with atomic_file(run.exclusions_path) as file:
            file.write(content)
    digest = hashlib.sha256(content).hexdigest()
    left_out = len(faces) - len(fitted)
    return fitted, {"exclude": {"file": str(exclude), "sha256": digest, "faces": left_out}}


def train_seeds(
    seeds: Sequence[int],
    recipe: str | Recipe,
    data: str | Path | FaceStore = "synthetic",
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    labels: Sequence[str] | None = None,
    resume: bool = False,
    track: Sequence[str] = (),
    **options: Any,
) -> list[RunFolder]:
    """Train a recipe once for each seed, into `out/seed-N`; the rest as `train`.

    `resume` goes on with the seeds that were begun and begins the others.
    """
    from mien import training

    chosen = chosen_recipe(recipe, overrides, init)
    if resume and out is None:
        raise InputError("--resume needs --out: the folder of the runs to go on with")
    folder = Path(out) if out is not None else _free_folder(RUNS / chosen.name)
    if (folder / "recipe.json").exists():
        raise InputError(f"{folder}: holds a single run; choose another --out")
    begun = {seed for seed in seeds if (folder / f"seed-{seed}" / "recipe.json").exists()}
    if begun and not resume:
        RunFolder(folder / f"seed-{min(begun)}").refuse_if_taken()
    if resume and not begun:
        raise InputError(f"{folder}: there is no run of these seeds to go on with")
    # What can be known to fail is said before the data are read.
    if begun < set(seeds):
        _check_network(chosen, folder)
    training.trackers_named(track)
    store = load_for(chosen, data, labels)
    return [
        train(
            replace(chosen, seed=seed),
            store,
            folder / f"seed-{seed}",
            resume=seed in begun,
            track=track,
            **options,
        )
        for seed in seeds
    ]


def teach(
    teachers: Sequence[str | Path | RunFolder],
    recipe: str | Recipe,
    data: str | Path | FaceStore = "synthetic",
    *,
    out: str | Path,
    views: int = 20,
    seed: int = 0,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    command: str | None = None,
) -> Teaching:
    """Write down what trained networks say of views of the training faces, for a student to learn from.

    Train the student with `targets.teacher=OUT` and the same recipe. Views that `out` has are kept.

    Args:
        teachers: run folders, or folders of seeds; their probabilities are averaged.
        recipe: the student's, a name or a Recipe: its augmentation and input make the views.
        data: the faces the student will be trained on: a path, `synthetic`, `synthetic:N`, or a store.
        out: the folder of the soft targets.
        views: how many of each face; a student that is trained for more epochs sees them again.
        seed: decides the views.
        overrides, labels, device, command: as for `train`.
        progress: told (faces done, faces in all) after each batch.
    """
    from mien import training

    runs = [
        run
        for path in teachers
        for run in RunFolder.expand(path.path if isinstance(path, RunFolder) else Path(path))
    ]
    chosen = chosen_recipe(recipe, overrides)
    store = load_for(chosen, data, labels)
    chosen = replace(chosen, expressions=store.expressions)
    train_faces = needed(faces_of.split(store, chosen.split).train, "train")
    return training.teach(
        runs,
        chosen,
        train_faces,
        Path(out),
        views=views,
        seed=seed,
        device=device,
        progress=progress,
        notes={"command": command},
    )


def evaluate(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str = "validation",
    *,
    tta: str = "flip",
    exclude: str | Path | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    command: str | None = None,
) -> Evaluation:
    """Score a run, or a model file, on a split.

    Of a run, scores, probabilities and report are written into its folder. Of a model file, which needs
    no torch for it, nothing is written; nor where faces are excluded, for what stands in a run is of
    whole splits.

    Args:
        run: a run folder, or a file that `export` wrote.
        data: a path, `synthetic`, `synthetic:N`, or a store; by default what the run was trained on.
            A model file does not know where that lies.
        split: `validation`, `test`, `official-validation` (the source's own validation faces,
            whatever split the run was trained with) or `train` (what it was fitted to, seen
            without augmentation and dropout).
        tta: `none`, `flip` or `ten`: a view scored beside the single one.
        exclude: a list that `mien data audit` wrote: its faces are not scored.
        labels: the label set of the data, by default the run's.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        command: the command line, for the record.
    """
    from mien.evaluation import (
        SPLIT_NAMES,
        Subject,
        check_request,
        evaluate_run,
        faces_to_score,
        write_report,
    )

    check_request(split, tta)
    excluded = read_exclusions(exclude) if exclude is not None else None
    if not isinstance(run, RunFolder) and is_model_file(run):
        subject = _model_subject(Path(run), data, split, labels, device)
        return subject.without(excluded).evaluated(tta, command=command)
    folder, store = _run_and_data(run, data, labels, device)
    if excluded is not None:
        subject = Subject.of_run(folder, store, split, device)
        return subject.without(excluded).evaluated(tta, command=command)
    evaluation = evaluate_run(folder, store, split, tta, device, command=command)
    pictured = {
        name: faces_to_score(folder, store, name)[0]
        for name in SPLIT_NAMES
        if ((folder.evaluation(name) or {}).get("data") or {}).get("fingerprint")
        == store.fingerprint
    }
    write_report(folder, pictured)
    return evaluation


def evaluate_corrupted(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None = None,
    split: str = "validation",
    *,
    labels: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    command: str | None = None,
) -> Robustness:
    """Score a run, or a model file, on a split whose faces are made worse in 15 ways, in the single view.

    Of a run, figures and a page are written into its folder; of a model file nothing is.

    Args:
        run, data, split, labels, device, command: as for `evaluate`.
        progress: told after each corruption: (done, in all).
    """
    from mien import evaluation

    evaluation.check_request(split, "none")
    if not isinstance(run, RunFolder) and is_model_file(run):
        subject = _model_subject(Path(run), data, split, labels, device)
        return evaluation.evaluate_corrupted(
            subject, Path(run).stem, progress=progress, command=command
        )
    folder, store = _run_and_data(run, data, labels, device)
    subject = evaluation.Subject.of_run(folder, store, split, device)
    name = str(folder.recipe()["name"])
    found = evaluation.evaluate_corrupted(subject, name, progress=progress, command=command)
    found.save(folder)
    evaluation.write_robustness_page(found, folder.path)
    return found


def export(
    run: str | Path | RunFolder,
    out: str | Path,
    *,
    data: str | Path | FaceStore | None = None,
    int8: bool = False,
    max_drop: float = 0.5,
    licence: str | None = None,
    labels: Sequence[str] | None = None,
    device: str = "auto",
) -> Exported:
    """Write a run's best network as one ONNX file that needs no torch and carries its card.

    Args:
        run: a run folder.
        out: the file, `.onnx`.
        data: what the run was trained on, by default where it lay then: its validation faces
            calibrate and check the file, its training faces scale int8.
        int8: quantise; faster and a quarter of the size, at some loss.
        max_drop: refuse int8 where it loses more validation accuracy than this, in points.
        licence: of the weights, for the card.
        labels: the label set of the data, by default the run's.
        device: where torch computes what the file is compared with.
    """
    from mien.exporting import export_run

    folder, store = _run_and_data(run, data, labels, device)
    return export_run(
        folder, store, Path(out), int8=int8, max_drop=max_drop, licence=licence, device=device
    )


def is_model_file(path: str | Path) -> bool:
    """Whether a path names a model file rather than a run folder."""
    return Path(path).suffix == ".onnx"


def _run_and_data(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None,
    labels: Sequence[str] | None,
    device: str,
) -> tuple[RunFolder, FaceStore]:
    """A run, and the data given or else those that it was trained on; a wrong device is refused first."""
    from mien.models import pick_device
    from mien.training import from_dict

    pick_device(device)
    folder = RunFolder.open(run.path if isinstance(run, RunFolder) else run)
    recipe = from_dict(folder.recipe(), str(folder.recipe_path))
    if data is None:
        data = (folder.environment().get("data") or {}).get("source")
        if data is None:
            raise InputError(f"{folder.path}: does not say what it was trained on; give --data")
    if labels is None and recipe.expressions != SEVEN:
        labels = recipe.expressions
    return folder, load_for(recipe, data, labels)


def _model_subject(
    path: Path,
    data: str | Path | FaceStore | None,
    split: str,
    labels: Sequence[str] | None,
    device: str,
) -> Subject:
    """A model file, and the split of some data that it is to be scored on."""
    from mien.evaluation import Subject
    from mien.recognise.model import FaceModel
    from mien.recognise.resize import fitted

    model = FaceModel.open(path, device)
    card = model.card
    if data is None:
        raise InputError(f"{path}: a model file does not know where its data lie; give --data")
    if labels is None and card.expressions != SEVEN:
        labels = card.expressions
    return Subject.of_model(
        card,
        lambda faces: model(fitted(faces, card.input)),
        load_for(card, data, labels),
        split,
        where=str(path),
    )


def chosen_recipe(
    recipe: str | Recipe, overrides: Sequence[str], init: str | Path | None = None
) -> Recipe:
    """The recipe of a name, a file (`.json`) or a Recipe, changed and checked.

    Where it starts from does not move with us.
    """
    from mien import models, recipes, training

    if not isinstance(recipe, str):
        chosen = recipe
    elif recipe.endswith(".json"):
        chosen = training.read_recipe(Path(recipe))
    else:
        chosen = recipes.find(recipe)
    chosen = training.override(chosen, [*overrides, *([] if init is None else [f"init={init}"])])
    init = chosen.init
    if init not in (None, models.HUB, models.PACKAGE):
        init = _anchored(str(init))
    targets = replace(
        chosen.targets,
        teacher=_anchored(chosen.targets.teacher),
        votes=_anchored(chosen.targets.votes),
    )
    return replace(chosen, init=init, targets=targets)


def _anchored(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _check_network(recipe: Recipe, folder: Path) -> None:
    """Refuse options that the network lacks, and weights that a run in `folder` could not start from."""
    from mien import models

    name, options = recipe.model.name, recipe.model.options
    models.entry(name).options(options)
    if recipe.init is not None and not RunFolder(folder).has_state:
        models.check_init(recipe.init, recipe.input, name, options)


def load_for(
    network: Recipe | ModelCard, data: str | Path | FaceStore, labels: Sequence[str] | None
) -> FaceStore:
    """The store of some data; images of mixed sizes are brought to the network's input."""
    if isinstance(data, FaceStore):
        return data
    return load(data, labels=labels, size=(network.input.height, network.input.width))


def parse_seeds(text: str) -> list[int]:
    """`0-4` or `0,2,7` as numbers.

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
    """`wanted`, or `wanted-2`, `wanted-3` ... where it is taken."""
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
