"""What a run folder says of its training: written when it begins, compared when it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mien.data.store import FaceView
from mien.errors import InputError
from mien.files import differing, write_json
from mien.models import entry
from mien.recipe import ModelSpec, Recipe, to_dict
from mien.runs import RunFolder


def with_all_options(recipe: Recipe) -> Recipe:
    """The recipe with every option of its network; those it does not name have their defaults."""
    model = entry(recipe.model.name)
    return replace(recipe, model=ModelSpec(model.name, model.options(recipe.model.options)))


def data_facts(train: FaceView, validation: FaceView) -> dict[str, Any]:
    """What environment.json says of the faces."""
    store = train.store
    return {
        "source": store.source,
        "fingerprint": store.fingerprint,
        "expressions": list(store.expressions),
        "counts": {"train": len(train), "validation": len(validation)},
        "shape": list(store.pixels.shape[1:]),
        "damaged": store.damaged,
        "notes": list(store.notes),
    }


def announce(run: RunFolder, recipe: Recipe, environment: Mapping[str, Any]) -> None:
    """Write down what is about to be trained; InputError where the folder holds a run already."""
    run.refuse_if_taken()
    started = {"started": _now(), "seconds": None}
    write_json(run.environment_path, {**environment, **started})
    write_json(run.recipe_path, to_dict(recipe))


def resumed(run: RunFolder, step: int, facts: Mapping[str, Any]) -> str | None:
    """Write down that a run goes on after `step`, and whatever is not as it was when it began.

    Returns:
        A sentence for people where it computes in another way than it began.
    """
    before = run.environment()
    changed = {name: value for name, value in facts.items() if before.get(name) != value}
    resume = {"step": step, "started": _now(), **changed}
    write_json(run.environment_path, {**before, "resumed": [*before.get("resumed", []), resume]})
    if not changed.keys() & {"device", "precision"}:
        return None
    then, now = (f"on {on.get('device')} in {on.get('precision')}" for on in (before, facts))
    return f"it began {then} and computes now {now}: it will not end as one that was not stopped"


def refuse_another(run: RunFolder, recipe: Recipe, data: Mapping[str, Any], processes: int) -> None:
    """InputError unless the run was begun with this recipe on these faces by so many processes."""
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
            f"{run.path}: was trained by {began} processes, not {processes}; their sums of gradients "
            f"are rounded in another way: resume with torchrun --nproc-per-node and so many in all"
        )
    trained_on = environment.get("data") or {}
    if differing(trained_on, {name: data[name] for name in ("fingerprint", "counts")}):
        raise InputError(f"{run.path}: was trained on other data; resume with the same --data")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
