"""The plan of a training, shown before it starts: faces, network, machine, steps."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group
from rich.text import Text

from mien.data.copies import has_copy
from mien.data.splits import Splits
from mien.data.store import FaceStore, FaceView
from mien.errors import quantity
from mien.models import cost, create, pick_device
from mien.recipe import CARVED_SHARE, Recipe, SplitRule
from mien.terminal import facts, table
from mien.training.machine import autocast_type


@dataclass(frozen=True)
class Outlook:
    """The plan of a training.

    Attributes:
        recipe: the name of the recipe.
        out: the run folder.
        source, layout: path and layout of the data.
        counts: split -> expression -> number of faces.
        validation: the origin of the validation faces.
        copies: split -> its faces that have an exact copy among the training faces.
        notes: remarks to read before a long training.
        network: the name of the network.
        parameters: their number.
        multiply_adds: of one face's forward pass.
        input: the network's input, channels x height x width.
        device, precision: name of the device, and the type of the arithmetic.
        epochs, batch_size, steps: the schedule; `steps` is the total of all epochs.
    """

    recipe: str
    out: str
    source: str
    layout: str
    counts: dict[str, dict[str, int]]
    validation: str
    copies: dict[str, int]
    notes: tuple[str, ...]
    network: str
    parameters: int
    multiply_adds: int
    input: str
    device: str
    precision: str
    epochs: int
    batch_size: int
    steps: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def render(self) -> Group:
        """The plan as tables for the terminal."""
        names = list(next(iter(self.counts.values())))
        faces = table("faces", *names, "all")
        for split, by_name in self.counts.items():
            faces.add_row(split, *(f"{n:,}" for n in [*by_name.values(), sum(by_name.values())]))
        copied = ", ".join(f"{number:,} of {split}" for split, number in self.copies.items())
        size = f"{self.parameters:,} parameters, {self.multiply_adds / 1e6:,.1f} M multiply-adds"
        epochs, steps = quantity(self.epochs, "epoch"), quantity(self.steps, "step")
        said = facts(
            ("data", Text(f"{self.source} ({self.layout or 'a store'})")),
            ("validation", self.validation),
            ("copies in training", copied),
            ("network", f"{self.network}, {size}, input {self.input}"),
            ("machine", f"{self.device}, {self.precision}"),
            ("plan", f"{epochs}, {steps} of {quantity(self.batch_size, 'face')}"),
        )
        return Group(faces, said, *(Text(f"note: {sentence}") for sentence in self.notes))


def outlook(
    recipe: Recipe, store: FaceStore, splits: Splits, fitted: FaceView, device: str, out: Path
) -> Outlook:
    """Make the plan of a training without starting it.

    Args:
        recipe: the recipe, with the label set of the data.
        store, splits: the data and their splits.
        fitted: the training faces without excluded ones.
        device: see `train`.
        out: the run folder.

    Raises:
        InputError: the network cannot be built, or the device is not available.
    """
    views = {"train": fitted, "validation": splits.validation, "test": splits.test}
    counts = {name: _counts(view) for name, view in views.items()}
    chosen, model = pick_device(device), recipe.model
    with torch.device("meta"):
        network = create(model.name, recipe.input, len(recipe.expressions), model.options)
    precision = str(autocast_type(recipe.precision, chosen, network)).removeprefix("torch.")
    costs = cost(model.name, recipe.input, len(recipe.expressions), model.options)
    return Outlook(
        recipe=recipe.name,
        out=str(out),
        source=store.source,
        layout=store.layout,
        counts=counts,
        validation=_origin(splits, recipe.split),
        copies={
            name: int(has_copy(store, view.indices, fitted.indices).sum())
            for name, view in views.items()
            if view is not fitted
        },
        notes=(*store.notes, *_untaught(counts)),
        network=model.name,
        parameters=costs.parameters,
        multiply_adds=costs.multiply_adds,
        input="x".join(map(str, recipe.input.shape)),
        device=torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type,
        precision=precision,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        steps=math.ceil(len(fitted) / recipe.batch_size) * recipe.epochs,
    )


def _counts(faces: FaceView) -> dict[str, int]:
    numbers: NDArray[np.int64] = np.bincount(faces.labels, minlength=len(faces.expressions))
    return dict(zip(faces.expressions, numbers.tolist(), strict=True))


def _origin(splits: Splits, rule: SplitRule) -> str:
    """The origin of the validation faces, as text."""
    if rule.holdout is not None:
        told = f"{rule.holdout:.0%} of Training, held out by split.holdout and seed {rule.seed}"
        unused = len(splits.official_validation)
        return f"{told}; the source's own {unused:,} are not used" if unused else told
    if len(splits.official_validation):
        return "the source's own"
    return f"{CARVED_SHARE:.0%} of Training, carved out: the source has no validation faces"


def _untaught(counts: dict[str, dict[str, int]]) -> list[str]:
    """Warnings about expressions that are validated or tested, but have no training faces."""
    told = []
    for name, number in counts["train"].items():
        asked = [f"{by[name]:,} in {split}" for split, by in counts.items() if by[name]]
        if not number and asked:
            told.append(f"{name}: no face to train with, {' and '.join(asked)}; it is not learnt")
    return told
