"""What a user names, as the parts that the verbs work with: faces, recipes, model files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien import data as faces_of
from mien.data.mapping import ClassMap, unmapped
from mien.data.reading import FOUND, UnknownClassesError
from mien.data.store import FaceStore
from mien.errors import InputError
from mien.expressions import SEVEN, parse_expressions
from mien.recognise.naming import is_model_address, is_packaged
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.card import ModelCard
    from mien.training import Recipe


def load(
    data: str | Path = "synthetic",
    *,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    skip_damaged: bool = False,
) -> FaceStore:
    """Read faces from any supported source, with a bar on a terminal when it is the first time.

    Args:
        data: a CSV, parquet, archive or folder (recognised by content), `synthetic`, `synthetic:N`.
        labels: the label set of the data, where it is not the challenge's seven.
        size: (height, width) for images of mixed sizes; a uniform source keeps its own.
        skip_damaged: leave out pictures that cannot be decoded; by default they are an error that
            names them.
    """
    return faces_of.load(
        data,
        labels=parse_expressions(labels) if labels is not None else None,
        size=size,
        skip_damaged=skip_damaged,
    )


def load_for(
    network: Recipe | ModelCard,
    data: str | Path | FaceStore,
    labels: Sequence[str] | None,
    *,
    skip_damaged: bool = False,
) -> FaceStore:
    """The store of some data; images of mixed sizes are brought to the network's input."""
    if isinstance(data, FaceStore):
        return data
    size = network.input.height, network.input.width
    return load(data, labels=labels, size=size, skip_damaged=skip_damaged)


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


def is_model_file(name: str | Path) -> bool:
    """Whether a name means a model file (by path, by address or inside the package), not a run folder."""
    return is_model_address(name) or is_packaged(name) or Path(name).suffix == ".onnx"


def run_and_data(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None,
    labels: Sequence[str] | None,
    device: str,
    mapping: ClassMap | None = None,
    *,
    imported: str | Path | None = None,
    skip_damaged: bool = False,
) -> tuple[RunFolder, FaceStore]:
    """A run, and the data given or else those that it was trained on; what can be refused is refused first."""
    from mien.models import import_own, pick_device, refuse_unknown

    pick_device(device)
    folder = RunFolder.open(run)
    if imported is not None:
        import_own(imported, folder)
    refuse_unknown(folder)
    if data is None:
        trained_on = folder.environment().get("data") or {}
        data = trained_on.get("source")
        skip_damaged |= bool(trained_on.get("damaged"))
        if data is None:
            raise InputError(f"{folder.path}: does not say what it was trained on; give --data")
    return folder, read_for(folder.recipe(), data, labels, mapping, skip_damaged=skip_damaged)


def read_for(
    network: Recipe | ModelCard,
    data: str | Path | FaceStore,
    labels: Sequence[str] | None,
    mapping: ClassMap | None,
    *,
    skip_damaged: bool = False,
) -> FaceStore:
    """The data, with the network's label set; with their own where a mapping says what that means."""
    if labels is None and mapping is not None and not isinstance(data, FaceStore):
        size = network.input.height, network.input.width
        return faces_of.load(data, labels=FOUND, size=size, skip_damaged=skip_damaged)
    if labels is None and network.expressions != SEVEN:
        labels = network.expressions
    try:
        return load_for(network, data, labels, skip_damaged=skip_damaged)
    except UnknownClassesError as error:
        if labels is not None and tuple(labels) != network.expressions:
            raise  # the person's own set lacks a class
        raise unmapped(error.unknown, network.expressions, str(data)) from None
