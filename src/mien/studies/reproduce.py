"""Every reference system trained from one command, and its published figures beside ours."""

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
from mien.runs import RunFolder
from mien.studies.reproduction import SPLITS, Reproduction, changes, current_evaluation, survey
from mien.studies.reproduction_page import write_reproduction
from mien.training import Recipe, StoppedError, Watcher, override

#: Where the runs and the page go when nobody says.
OUT = Path("reproduction")


def reproduce(
    data: str | Path,
    out: str | Path = OUT,
    *,
    only: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    device: str = "auto",
    command: str | None = None,
    watchers: Sequence[Watcher] | None = None,
    say: Say = lambda _: None,
) -> Reproduction:
    """Train and score the reference recipes; lay what the systems publish beside what comes.

    Runs go to out/<recipe>/seed-N. A finished run there is kept as it is, whoever made it; one that
    was stopped goes on; one that was evaluated is not evaluated again. So the same call goes on
    where an earlier one was stopped, and calls with different data fill one page. The page
    (reproduce.html, .md, .json) is written anew after each recipe.

    Args:
        data: a path, `synthetic`, `synthetic:N`.
        out: the folder of runs and page.
        only: names of recipes; by default those that follow a reference system.
        overrides: `["epochs=1"]` for a quick pass. A run that differs from its recipe is marked as
            such and never counts as a reproduction.
        seeds: one training each.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        command: the command line, for the record.
        watchers: as of `api.train`.
        say: told in a sentence what is kept, and what failed.

    Returns:
        All that the folder holds. A recipe that failed is among its `failures`, and did not stop
        the others.

    Raises:
        InputError: a name, an override, a device or data that cannot be used; nothing was done.
        StoppedError: SIGINT or SIGTERM arrived; the page stands as far as it goes.
    """
    out, chosen = Path(out), _chosen(only, overrides)
    pick_device(device)

    @cache
    def load(height: int, width: int) -> FaceStore:
        return api.load(data, size=(height, width))

    load(chosen[0].input.height, chosen[0].input.width)  # data that cannot be read end it here
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
    """What fails is added to the failures of its recipe, and ends nothing; a signal does."""
    try:
        yield
    except StoppedError:
        raise
    except MienError as error:
        failures.setdefault(recipe.name, []).append(str(error))
        say(f"{recipe.name}, seed {recipe.seed}: {error}")


def _chosen(only: Sequence[str] | None, overrides: Sequence[str]) -> list[Recipe]:
    names = dict.fromkeys(only if only is not None else recipes.reference_names())
    chosen = [override(recipes.find(name), overrides) for name in names]
    for recipe in chosen:
        entry(recipe.model.name).options(recipe.model.options)
    if not chosen:
        raise InputError("--only names no recipe; `mien recipes` lists them")
    return chosen


def _folder(recipe_folder: Path, seed: int) -> Path:
    """Where the run of a seed lies; a single run that was put in the place of the seeds is one of them."""
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
    """The finished run of a recipe: the one that is there, gone on with, or a new one."""
    folder = _folder(out / recipe.name, recipe.seed)
    begun = (folder / "recipe.json").is_file()
    if not (begun and (run := RunFolder.open(folder)).is_finished()):
        return api.train(recipe, store, folder, resume=begun, **options)
    differing = ", ".join(changes(run, recipe))
    other = f", though it differs in {differing}; for another choose another --out"
    say(f"{folder}: is finished and kept{other if differing else ''}")
    return run


def _score(run: RunFolder, store: FaceStore, say: Say, **options: Any) -> None:
    """Score what was not scored yet, on the data that the run was trained on."""
    wanted = SPLITS if bool((store.splits == TEST).any()) else SPLITS[:1]
    missing = [split for split in wanted if current_evaluation(run, split) is None]
    if (run.environment().get("data") or {}).get("fingerprint") == store.fingerprint:
        for split in missing:
            api.evaluate(run, store, split, **options)
    elif missing:
        say(f"{run.path}: was trained on other data; it is scored when those are given")
