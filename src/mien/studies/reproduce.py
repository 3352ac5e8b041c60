"""Train every reference system with one command, and compare its published figures with ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mien import api, recipes
from mien.callbacks import Say
from mien.data.store import TEST, FaceStore
from mien.errors import InputError, MienError
from mien.models import entry, pick_device
from mien.recipe import refuse_seed
from mien.runs import RunFolder
from mien.studies.reproduction import SPLITS, Reproduction, changes, survey
from mien.studies.reproduction_page import write_reproduction
from mien.training import Recipe, StoppedError, Watcher, override

#: Default folder of runs and page.
OUT = Path("reproduction")


def reproduce(
    data: str | Path,
    out: str | Path = OUT,
    *,
    only: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    skip_damaged: bool = False,
    device: str = "auto",
    command: str | None = None,
    watchers: Sequence[Watcher] | None = None,
    say: Say = lambda _: None,
) -> Reproduction:
    """Train and score the reference recipes, and compare the results with the systems' published figures.

    Runs go to out/<recipe>/seed-N. Finished runs are kept, stopped runs are resumed, and evaluated runs are not
    evaluated again: the same call resumes an earlier one, and calls with different data fill one page. The page
    (reproduce.html, .md, .json) is written again after each recipe.

    Args:
        data: a path, `synthetic`, `synthetic:N`.
        out: the folder of runs and page.
        only: names of recipes, or one text, `"basic-cnn,simple-cnn"`; by default those that follow a reference system.
        overrides: changed settings, as `["epochs=1"]` for a quick pass. A run that differs from its recipe is
            marked as such and never counts as a reproduction.
        seeds: the seeds, one training each.
        skip_damaged: as for `api.train`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        command: the command line, for the record.
        watchers: as for `api.train`.
        say: told in a sentence of each kept run and each failure.

    Returns:
        All runs of the folder. A recipe that failed is among `failures`; the others were trained all the same.

    Raises:
        InputError: a name, an override, a device or data that cannot be used; nothing was trained.
        StoppedError: SIGINT or SIGTERM; the page shows the runs up to there.
    """
    out, chosen = Path(out), _chosen(only, overrides)
    pick_device(device)

    @cache
    def load(height: int, width: int) -> FaceStore:
        return api.load(data, size=(height, width), skip_damaged=skip_damaged)

    # Raises before any training if the data cannot be read.
    load(chosen[0].input.height, chosen[0].input.width)
    failures: dict[str, list[str]] = {}
    options = {"device": device, "command": command}
    for recipe in chosen:
        try:
            for one in (replace(recipe, seed=seed) for seed in seeds):
                with _noted(failures, one, say):
                    store = load(recipe.input.height, recipe.input.width)
                    run = _trained(one, store, out, say, watchers=watchers, **options)
                    _score(run, store, say, **options)
        finally:
            found = survey(out, failures)
            write_reproduction(found)
    return found


@contextmanager
def _noted(failures: dict[str, list[str]], recipe: Recipe, say: Say) -> Iterator[None]:
    """Add an error to the failures of its recipe and go on; a signal is raised again."""
    try:
        yield
    except StoppedError:
        raise
    except MienError as error:
        failures.setdefault(recipe.name, []).append(str(error))
        say(f"{recipe.name}, seed {recipe.seed}: {error}")


def _chosen(only: Sequence[str] | None, overrides: Sequence[str]) -> list[Recipe]:
    refuse_seed(overrides)
    if isinstance(only, str):
        only = [name.strip() for name in only.split(",")]
    names = dict.fromkeys(only if only is not None else recipes.reference_names())
    chosen = [override(recipes.find(name), overrides) for name in names]
    for recipe in chosen:
        entry(recipe.model.name).options(recipe.model.options)
    if not chosen:
        raise InputError("--only names no recipe; `mien recipes` lists them")
    return chosen


def _folder(recipe_folder: Path, seed: int) -> Path:
    """The run folder of a seed. A single run directly in the recipe's folder counts as the run of its seed.

    Raises:
        InputError: the recipe's folder itself is the run of another seed.
    """
    if not (recipe_folder / "recipe.json").is_file():
        return recipe_folder / f"seed-{seed}"
    its_seed = RunFolder.open(recipe_folder).recipe().seed
    if its_seed != seed:
        raise InputError(
            f"{recipe_folder}: is a run of seed {its_seed}; move it to {recipe_folder.name}/"
            f"seed-{its_seed} to have several"
        )
    return recipe_folder


def _trained(recipe: Recipe, store: FaceStore, out: Path, say: Say, **options: Any) -> RunFolder:
    """Train a recipe, resume its run, or keep it if it is finished."""
    folder = _folder(out / recipe.name, recipe.seed)
    begun = (folder / "recipe.json").is_file()
    if not (begun and (run := RunFolder.open(folder)).is_finished()):
        return api.train(recipe, store, folder, resume=begun, **options)
    differing = ", ".join(changes(run, recipe))
    other = f", though it differs in {differing}; for another choose another --out"
    say(f"{folder}: is finished and kept{other if differing else ''}")
    return run


def _score(run: RunFolder, store: FaceStore, say: Say, **options: Any) -> None:
    """Score the splits without a current score, if the store is the data that the run was trained on."""
    wanted = SPLITS if bool((store.splits == TEST).any()) else SPLITS[:1]
    missing = [split for split in wanted if run.current_evaluation(split) is None]
    if run.trained_on() == store.fingerprint:
        for split in missing:
            api.evaluate(run, store, split, **options)
    elif missing:
        say(f"{run.path}: was trained on other data; it is scored when those are given")
