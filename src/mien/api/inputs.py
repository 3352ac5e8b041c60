"""Turning names that users give into objects: stores of faces, recipes, runs, model files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien import data as faces_of
from mien.data.class_folders import LAYOUT as FOLDERS
from mien.data.mapping import ClassMap, unmapped
from mien.data.reading import FOUND, UnknownClassesError
from mien.data.store import FaceStore
from mien.errors import InputError
from mien.expressions import SEVEN, parse_expressions
from mien.files import from_home
from mien.recipe import listed
from mien.recognise.media import is_address
from mien.recognise.naming import find_model, is_packaged
from mien.runs import RunFolder

if TYPE_CHECKING:
    from mien.card import ModelCard
    from mien.recognise.model import FaceModel
    from mien.training import Recipe


def load(
    data: str | Path = "synthetic",
    *,
    labels: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    skip_damaged: bool = False,
) -> FaceStore:
    """Read faces from any supported source, and cache them. The first time, a terminal shows a progress bar.

    Args:
        data: a CSV, parquet, archive or folder (detected by its content), `synthetic`, `synthetic:N`.
        labels: the label set of the data, if it is not the seven expressions of FER-2013: names, or one
            text, `"calm,tense,laughing"`.
        size: (height, width) in pixels for images of mixed sizes; a uniform source keeps its own.
            Images that are not square are first made so: their border pixels are repeated.
        skip_damaged: leave out pictures that cannot be decoded; by default they are an error that
            names them.

    Returns:
        The faces: uint8 (N, C, H, W), with labels and splits.

    Raises:
        InputError: the source is missing, damaged, of no supported layout, or has other classes.

    >>> load("synthetic:14").expressions[:2]
    ('angry', 'disgust')
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
    """Load data as `load` does, with images of mixed sizes resized to the network's input; a store stays as is."""
    if isinstance(data, FaceStore):
        return data
    size = network.input.height, network.input.width
    return load(data, labels=labels, size=size, skip_damaged=skip_damaged)


def chosen_recipe(
    recipe: str | Path | Recipe, overrides: Sequence[str], init: str | Path | None = None
) -> Recipe:
    """Find a recipe, apply changes and check it.

    Relative paths in it become absolute, so that a run can be resumed from another working directory.

    Args:
        recipe: a name, a file (`.json`) or a Recipe.
        overrides: `["epochs=3", "optimizer.lr=3e-4"]`.
        init: the initial weights, in place of the recipe's.

    Raises:
        InputError: there is no such recipe, or a change is not allowed.
    """
    from mien import models, recipes, training

    if isinstance(recipe, training.Recipe):
        chosen = recipe
    elif str(recipe).endswith(".json"):
        chosen = training.read_recipe(Path(recipe))
    elif str(recipe) in recipes.names() or not _is_run(recipe):
        chosen = recipes.find(str(recipe))
    else:
        raise InputError(
            f"{recipe} is a run, not a recipe: give {Path(recipe) / 'recipe.json'} to train the same again, or "
            f"--init {recipe} to begin with its weights"
        )
    changes = [*listed(overrides), *([] if init is None else [f"init={init}"])]
    chosen = training.override(chosen, changes)
    init = chosen.init
    if init not in (None, models.HUB, models.PACKAGE):
        init = _anchored("init", str(init))
    targets = replace(
        chosen.targets,
        teacher=_anchored("targets.teacher", chosen.targets.teacher),
        votes=_anchored("targets.votes", chosen.targets.votes),
    )
    return replace(chosen, init=init, targets=targets)


def _is_run(path: str | Path) -> bool:
    # `is_file` of a Path would raise if the name is too long.
    return os.path.isfile(Path(path) / "recipe.json")  # noqa: PTH113


def _anchored(name: str, path: str | None) -> str | None:
    if path == "":  # it would mean the working directory
        raise InputError(f"{name}=: the path is empty; give one, or none")
    return None if path is None else str(from_home(path).absolute())


def is_model_file(name: str | Path) -> bool:
    """Whether a name means a model file (a path, a URL or a packaged model), not a run folder."""
    return is_address(str(name)) or is_packaged(name) or Path(name).suffix == ".onnx"


def open_model(name: str | Path, device: str) -> FaceModel:
    """Open a model file by its name (see `is_model_file`) on a device.

    Raises:
        InputError: there is no such model, it is damaged, or ONNX Runtime lacks the device.
    """
    from mien.recognise.model import FaceModel

    named = find_model(name)
    return FaceModel.open(named.content, device, where=str(name) if named.packaged else named.where)


def run_and_data(
    run: str | Path | RunFolder,
    data: str | Path | FaceStore | None,
    labels: Sequence[str] | None,
    mapping: ClassMap | None = None,
    *,
    imported: str | Path | None = None,
    skip_damaged: bool = False,
) -> tuple[RunFolder, FaceStore]:
    """Open a run and load its data; checks that need no data come first.

    Args:
        run: a run folder.
        data: the data; None is the data that the run was trained on.
        labels, mapping, skip_damaged: see `read_for`.
        imported: the user's file that the run was trained with, if there was one; it is run.

    Raises:
        InputError: the run or the data cannot be used.
    """
    from mien.models import import_own, refuse_unknown

    folder = RunFolder.open(run)
    if imported is not None:
        import_own(imported, folder)
    refuse_unknown(folder)
    if data is None:
        trained_on = folder.environment().get("data") or {}
        data = trained_on.get("source")
        skip_damaged |= bool(trained_on.get("damaged"))
        if data is None:
            raise InputError(f"{folder.path}: its training data are unknown; give --data")
    store = read_for(
        folder.recipe(), data, labels, mapping, folder.trained_on(), skip_damaged=skip_damaged
    )
    return folder, store


def read_for(
    network: Recipe | ModelCard,
    data: str | Path | FaceStore,
    labels: Sequence[str] | None,
    mapping: ClassMap | None,
    trained_on: str | None,
    *,
    skip_damaged: bool = False,
) -> FaceStore:
    """Load data with the network's label set; with the data's own classes if a mapping translates them.

    Args:
        network: a recipe or a model's card.
        data: a path, `synthetic`, `synthetic:N`, or a store.
        labels: the label set of the data; None is the network's.
        mapping: data's class -> the network's expression, or None for a class that is left out.
        trained_on: the fingerprint of the network's training data; None if it is not known.
        skip_damaged: leave out pictures that cannot be decoded.

    Raises:
        InputError: the data cannot be read, have classes without a meaning for the network, or their labels are numbers
            whose order is not known.
    """
    if isinstance(data, FaceStore):
        return data
    assumed = labels is None
    if assumed and mapping is None and network.expressions != SEVEN:
        labels = network.expressions
    try:
        if assumed and mapping is not None:
            size = network.input.height, network.input.width
            store = faces_of.load(data, labels=FOUND, size=size, skip_damaged=skip_damaged)
        else:
            store = load_for(network, data, labels, skip_damaged=skip_damaged)
    except UnknownClassesError as error:
        if labels is not None and parse_expressions(labels) != network.expressions:
            raise  # the label set that the user gave lacks a class
        raise unmapped(error.unknown, network.expressions, str(data)) from None
    others = trained_on is not None and trained_on != store.fingerprint
    # A table for a set that begins with the challenge's seven, such as FER+'s eight, counts them as the challenge
    # does. Folders may count in any order: AffectNet's eight begin with neutral.
    counted = store.layout != FOLDERS and network.expressions[: len(SEVEN)] == SEVEN
    if assumed and others and store.numbered and not counted:
        raise InputError(
            f"{data}: its labels are numbers, and these are not the faces that the network was trained on: give the "
            "expressions of the numbers, in their order, with --labels"
        )
    return store
