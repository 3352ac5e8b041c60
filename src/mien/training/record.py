"""The record of a training in its run folder: written at the start, compared when the run is resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mien.data.store import FaceView
from mien.errors import InputError, quantity
from mien.files import atomic_file, differing, write_json
from mien.models import OwnFile, entry
from mien.recipe import ModelSpec, Recipe, to_dict
from mien.runs import RunFolder


def with_all_options(recipe: Recipe) -> Recipe:
    """The recipe with all options of its network, defaults included.

    Raises:
        InputError: the network or an option is unknown.
    """
    model = entry(recipe.model.name)
    return replace(recipe, model=ModelSpec(model.name, model.options(recipe.model.options)))


def data_facts(train: FaceView, validation: FaceView) -> dict[str, Any]:
    """The entry about the data in environment.json."""
    store = train.store
    return {
        "source": store.source,
        "fingerprint": store.fingerprint,
        "expressions": list(store.expressions),
        "order": train.order,
        "counts": {"train": len(train), "validation": len(validation)},
        "shape": list(store.pixels.shape[1:]),
        "damaged": store.damaged,
        "notes": list(store.notes),
    }


def announce(
    run: RunFolder,
    recipe: Recipe,
    environment: Mapping[str, Any],
    own: OwnFile | None,
    exclusions: bytes | None,
) -> None:
    """Write environment.json and recipe.json of a new run, and copies of the list of exclusions and the user's file.

    Raises:
        InputError: the folder already holds a run, or cannot be written.
    """
    run.refuse_if_taken()
    if exclusions is None:
        run.exclusions_path.unlink(missing_ok=True)  # of a training that did not begin
    else:
        with atomic_file(run.exclusions_path) as file:
            file.write(exclusions)
    started = {"started": _now(), "seconds": None}
    if own is not None:
        own.keep(run)
        started |= own.notes
    write_json(run.environment_path, {**environment, **started})
    write_json(run.recipe_path, to_dict(recipe))


def resumed(run: RunFolder, step: int, facts: Mapping[str, Any]) -> str | None:
    """Record in environment.json that a run is resumed after `step`, with all changed facts of the machine.

    Returns:
        A warning if the device or precision has changed, else None.
    """
    before = run.environment()
    changed = {name: value for name, value in facts.items() if before.get(name) != value}
    resume = {"step": step, "started": _now(), **changed}
    write_json(run.environment_path, {**before, "resumed": [*before.get("resumed", []), resume]})
    if not changed.keys() & {"device", "precision"}:
        return None
    then, now = (f"on {on.get('device')} in {on.get('precision')}" for on in (before, facts))
    return f"it began {then} and continues {now}: the result will differ from that of one uninterrupted run"


def refuse_another(
    run: RunFolder, recipe: Recipe, data: Mapping[str, Any], targets: str | None, processes: int
) -> None:
    """Refuse to resume a run under other conditions.

    Args:
        run: the run folder.
        recipe: the recipe, with all options.
        data: see `data_facts`.
        targets: the digest of votes and soft targets, see `Supervision`.
        processes: the number of processes.

    Raises:
        InputError: the run was started with another recipe, other data, votes or soft targets, or another number of
            processes.
    """
    before = with_all_options(run.recipe())
    if names := differing(to_dict(before), to_dict(recipe)):
        raise InputError(
            f"{run.path}: was trained by another recipe (it differs in {', '.join(names)}); "
            "resume with the same recipe and the same --set"
        )
    environment = run.environment()
    began = environment.get("processes", 1)
    if began != processes:
        raise InputError(
            f"{run.path}: was trained by {quantity(began, 'process', 'processes')}, not {processes}, and another "
            f"number rounds sums of gradients differently: start as many (torchrun starts several)"
        )
    trained_on = environment.get("data") or {}
    if differing(trained_on, {name: data[name] for name in ("fingerprint", "counts")}):
        raise InputError(f"{run.path}: was trained on other data; resume with the same --data")
    # Runs of earlier versions lack the order and the digest.
    if trained_on.get("order", data["order"]) != data["order"]:
        raise InputError(
            f"{run.path}: was trained on these faces in another order, and a step takes them by their numbers; "
            "resume with the same --data"
        )
    if environment.get("targets_sha256", targets) != targets:
        raise InputError(
            f"{run.path}: its votes or soft targets have changed since it began; resume with those that it began "
            "with, or train again into another --out"
        )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
