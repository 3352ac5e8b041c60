"""The verbs of mien: what the command line calls, and what a program or a notebook calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien import data as faces_of
from mien.data.splits import needed
from mien.data.store import FaceStore
from mien.errors import InputError
from mien.expressions import parse_expressions
from mien.faces import InputSpec
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.evaluation.evaluation import Evaluation
    from mien.training import Recipe, Watcher

#: Where runs go when nobody says.
RUNS = Path("runs")


def load(
    data: str | Path = "synthetic",
    *,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    progress: bool = False,
) -> FaceStore:
    """Read faces from any supported source.

    Args:
        data: a CSV, parquet, archive or folder (recognised by content), `synthetic`, `synthetic:N`.
        labels: the label set of the data, where it is not the challenge's seven.
        size: (height, width) for images of mixed sizes; a uniform source keeps its own.
        progress: show a bar while a source is read for the first time.
    """
    return faces_of.load(
        data,
        labels=parse_expressions(labels) if labels is not None else None,
        size=size,
        progress=progress,
    )


def train(
    recipe: str | Recipe,
    data: str | Path | FaceStore = "synthetic",
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    resume: bool = False,
    watchers: Sequence[Watcher] = (),
    progress: bool = False,
    command: str | None = None,
) -> list[RunFolder]:
    """Train a recipe on Training, select on validation; the test split is never handed on.

    Args:
        recipe: a name (`mien recipes` lists them) or a Recipe.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        out: the run folder; with `seeds`, the folder of run folders `seed-N`. By default a new one
            below `runs/`, named after the recipe.
        overrides: `["epochs=3", "optimizer.lr=3e-4"]`.
        labels: the label set of the data, where it is not the challenge's seven.
        seeds: train once for each instead of once with the recipe's own.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        resume: go on with the run in `out` where it was stopped.
        watchers: told of every epoch.
        progress: show a bar while a source is read for the first time.
        command: the command line, for the record.

    Returns:
        One finished run, or one a seed.

    Raises:
        MienError: with one sentence that says what is wrong and what to do.
    """
    from mien import recipes, training

    chosen = recipes.find(recipe) if isinstance(recipe, str) else recipe
    chosen = training.override(chosen, overrides)
    if resume and out is None:
        raise InputError("--resume needs --out: the folder of the run to go on with")
    store = data
    if not isinstance(store, FaceStore):
        size = chosen.input.height, chosen.input.width
        store = load(store, labels=labels, size=size, progress=progress)
    chosen = replace(chosen, expressions=store.expressions)
    splits = faces_of.split(store, chosen.split)
    train_faces = needed(splits.train, "train")
    validation_faces = needed(splits.validation, "validation")
    folder = Path(out) if out is not None else _free_folder(RUNS / chosen.name)

    runs = []
    for seed in seeds if seeds is not None else [chosen.seed]:
        place = folder if seeds is None else folder / f"seed-{seed}"
        run = training.train(
            replace(chosen, seed=seed),
            train_faces,
            validation_faces,
            place,
            device=device,
            resume=resume and (place / "recipe.json").exists(),
            watchers=watchers,
            notes={"command": command},
        )
        runs.append(run)
    return runs


def evaluate(
    run: str | Path,
    data: str | Path | FaceStore = "synthetic",
    split: str = "validation",
    *,
    tta: str = "flip",
    labels: Sequence[str] | None = None,
    device: str = "auto",
    command: str | None = None,
    progress: bool = False,
) -> list[Evaluation]:
    """Score a run, or the runs of its seeds, on a split; writes scores and report into the run.

    Args:
        run: a run folder, or a folder of `seed-N` runs.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        split: `validation`, `test`, `official-validation` (the source's own validation faces,
            whatever split the run was trained with) or `train` (what it was fitted to, seen
            without augmentation and dropout).
        tta: `none`, `flip` or `ten`: a view scored beside the single one.
        labels: the label set of the data, where it is not the challenge's seven.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        command: the command line, for the record.
        progress: show a bar while a source is read for the first time.

    Returns:
        One evaluation a run, in the order of seeds.
    """
    from mien.evaluation import SPLIT_NAMES, evaluate_run, faces_to_score, write_report

    evaluations = []
    for folder in RunFolder.expand(run):
        store = data
        if not isinstance(store, FaceStore):
            spec = InputSpec.from_dict(folder.recipe()["input"])
            size = spec.height, spec.width
            store = load(store, labels=labels, size=size, progress=progress)
        evaluations.append(evaluate_run(folder, store, split, tta, device, command=command))
        pictured = {
            name: faces_to_score(folder, store, name)[0]
            for name in SPLIT_NAMES
            if ((folder.evaluation(name) or {}).get("data") or {}).get("fingerprint")
            == store.fingerprint
        }
        write_report(folder, pictured)
    return evaluations


def parse_seeds(text: str) -> list[int]:
    """`0-4` or `0,2,7` as numbers.

    >>> parse_seeds("0-2,7")
    [0, 1, 2, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
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
