"""Published figures and ours side by side, read from run folders; without any training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mien import recipes
from mien.errors import MienError, quantity
from mien.evaluation.metrics import accuracy_interval
from mien.evaluation.summary import MeanSd, OfSeeds, over_seeds
from mien.evaluation.text import flatten
from mien.models import cost
from mien.recipes import Published
from mien.runs import RunFolder, validated
from mien.training import Recipe, from_dict, to_dict
from mien.training.record import with_all_options
from mien.version import __version__

#: Views and splits on the page.
VIEWS, SPLITS = ("none", "flip"), ("validation", "test")
#: Figures of ours for a recipe whose system publishes none; the first available one is shown.
FALLBACK = ("test_accuracy", "validation_accuracy")

# States of a row: how comparable it is with the figures of its system.
FULL, SHORTENED, CHANGED, OTHER_FACES = "in full", "shortened", "changed", "other faces"
UNFINISHED, FAILED, NOT_RUN = "unfinished", "failed", "not run"


@dataclass(frozen=True)
class Beside:
    """A published figure and ours.

    Attributes:
        figure: name of the figure, a field of Published.
        published: the published value, 0..1 or nats; None if the system states none.
        ours: our value, mean and sd over the seeds; None if a run lacks it.
        interval: 95 % interval of ours over faces, averaged over seeds; None for losses and for training
            accuracies, which are measured while the weights change.
        difference: ours minus published; None unless a figure is published and the state of the row is FULL.
        inside: whether the published figure lies in the interval; None if there is no difference or no interval.
    """

    figure: str
    published: float | None
    ours: MeanSd | None = None
    interval: tuple[float, float] | None = None
    difference: float | None = None
    inside: bool | None = None


@dataclass(frozen=True)
class Row(OfSeeds):
    """One recipe as trained on one data set: the runs of its seeds, or none yet.

    Attributes:
        name: name of the recipe.
        runs: its runs, which differ only in the seed.
        state: FULL, SHORTENED, CHANGED, OTHER_FACES, UNFINISHED, FAILED or NOT_RUN.
        remark: details of the state, for people.
    """

    name: str
    runs: tuple[RunFolder, ...] = ()
    state: str = NOT_RUN
    remark: str = ""

    @property
    def system(self) -> str | None:
        return recipes.entry(self.name).system

    @property
    def published(self) -> Published:
        return recipes.entry(self.name).published

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of its first run."""
        return self.runs[0].recipe()

    @cached_property
    def data(self) -> dict[str, Any]:
        return self.runs[0].environment().get("data") or {}

    @cached_property
    def evaluations(self) -> dict[str, list[dict[str, Any]]]:
        """split -> evaluation-<split>.json of every run, for the splits of which all runs have a current one."""
        found = {split: [run.current_evaluation(split) for run in self.runs] for split in SPLITS}
        return {
            split: [one for one in of_runs if one is not None]
            for split, of_runs in found.items()
            if of_runs and None not in of_runs
        }

    @property
    def seeds(self) -> list[int]:
        return sorted(run.recipe().seed for run in self.runs)

    @property
    def devices(self) -> list[str]:
        """The devices of its runs, each once."""
        return list(dict.fromkeys(_device(run.environment()) for run in self.runs))

    @cached_property
    def cost(self) -> dict[str, int] | None:
        """Number of parameters and of multiply-adds; None if the network cannot be built here."""
        try:
            recipe, model = self.recipe, self.recipe.model
            found = cost(model.name, recipe.input, len(recipe.expressions), model.options)
            return asdict(found)
        except MienError:
            return None

    @cached_property
    def besides(self) -> list[Beside]:
        """Each published figure beside ours, the most important first; if none is published, one of ours alone."""
        if stated := self.published.figures():
            return [self._beside(figure, value) for figure, value in stated.items()]
        alone = [self._beside(figure, None) for figure in FALLBACK]
        return [next((item for item in alone if item.ours is not None), alone[0])]

    def _beside(self, figure: str, published: float | None) -> Beside:
        no_tests: list[dict[str, Any] | None] = [None] * len(self.runs)
        tests = self.evaluations.get("test") or no_tests
        found = [
            _ours(run, test, figure, self.published.epoch)
            for run, test in zip(self.runs, tests, strict=True)
        ]
        values = [value for value, _ in found if value is not None]
        intervals = [interval for _, interval in found if interval is not None]
        if not values or len(values) < len(found):
            return Beside(figure, published)
        ours = over_seeds(values)
        interval = None
        if len(intervals) == len(found):
            low, high = np.mean(intervals, axis=0)
            interval = (float(low), float(high))
        beside = Beside(figure, published, ours, interval)
        if published is None or self.state != FULL:
            return beside
        return replace(
            beside,
            difference=ours.mean - published,
            inside=interval[0] <= published <= interval[1] if interval else None,
        )

    def score(self, split: str, view: str, figure: str, which: str = "official") -> MeanSd | None:
        """Mean and sd over the seeds of a figure of the evaluations, such as accuracy.

        Args:
            split: `validation` or `test`.
            view: `none` or `flip`.
            figure: name of the figure in the evaluation's file.
            which: `official`, or `deduplicated` for faces without an exact copy in training.

        Returns:
            None if a run lacks the figure.
        """
        found = [
            (item["views"].get(view, {}).get(which) or {}).get(figure)
            for item in self.evaluations.get(split, [])
        ]
        defined = [value for value in found if value is not None]
        return over_seeds(defined) if defined and len(defined) == len(found) else None

    def to_dict(self, folder: Path) -> dict[str, Any]:
        """Convert to plain values for JSON; paths are relative to `folder`."""
        scores = {
            split: {
                view: {
                    which: _plain(self.score(split, view, "accuracy", which))
                    for which in ("official", "deduplicated")
                }
                for view in VIEWS
            }
            for split in self.evaluations
        }
        return {
            "recipe": self.name,
            "system": self.system,
            "state": self.state,
            "remark": self.remark,
            "note": self.published.note,
            "figures": [asdict(item) for item in self.besides],
            "accuracy": scores,
            "seeds": self.seeds,
            "epochs": _plain(self.epochs),
            "seconds": _plain(self.seconds),
            "devices": self.devices,
            **(self.cost or {"parameters": None, "multiply_adds": None} if self.runs else {}),
            "data": self.data if self.runs else None,
            "runs": [run.path.relative_to(folder).as_posix() for run in self.runs],
        }


@dataclass(frozen=True)
class Reproduction:
    """Every reference recipe compared with its system, as far as `folder` holds runs.

    Attributes:
        folder: folder of runs and page.
        rows: one for each recipe and data set, and one for each recipe without a run.
        failures: recipe -> its errors.
    """

    folder: Path
    rows: tuple[Row, ...]
    failures: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for reproduce.json."""
        return {
            "mien": __version__,
            "rows": [row.to_dict(self.folder) for row in self.rows],
            "failures": {name: list(said) for name, said in self.failures.items()},
        }


def survey(folder: Path, failures: Mapping[str, Sequence[str]] | None = None) -> Reproduction:
    """Read the runs in folder/<recipe>/seed-N.

    Recipes that follow no system have rows if the folder holds runs of them.

    Args:
        folder: folder of the runs.
        failures: recipe -> the errors of this call.
    """
    failures = failures or {}
    names = recipes.reference_names()
    names += [name for name in recipes.names() if name not in names and (folder / name).is_dir()]
    rows: list[Row] = []
    for name in names:
        rows += _rows(name, folder / name, failures.get(name, ()))
    return Reproduction(folder, tuple(rows), failures)


def changes(run: RunFolder, recipe: Recipe) -> dict[str, tuple[str, str]]:
    """List the settings in which a run differs from a recipe: field -> (value of the run, value of the recipe)."""
    trained = _settings(run.recipe())
    wanted = _settings(recipe)
    return {
        name: (trained.get(name, "-"), wanted.get(name, "-"))
        for name in [*wanted, *(name for name in trained if name not in wanted)]
        if trained.get(name) != wanted.get(name)
    }


def _rows(name: str, folder: Path, failures: Sequence[str]) -> list[Row]:
    """Group the runs of one recipe into rows; runs that differ only in the seed share one. Errors are a row too."""
    groups: dict[tuple[str, str, str], list[RunFolder]] = defaultdict(list)
    problems = list(failures)
    for path in sorted([*folder.glob("recipe.json"), *folder.glob("seed-*/recipe.json")]):
        try:
            run = RunFolder.open(path.parent)
            groups[(*_standing(name, run), str(run.trained_on()))].append(run)
        except MienError as error:
            problems.append(str(error))
    order = (FULL, OTHER_FACES, CHANGED, SHORTENED, UNFINISHED)
    rows = [
        Row(name, tuple(runs), state, remark)
        for (state, remark, _), runs in sorted(
            groups.items(), key=lambda item: order.index(item[0][0])
        )
    ]
    if problems:
        begun = tuple(run for row in rows if row.state == UNFINISHED for run in row.runs)
        rows = [row for row in rows if row.state != UNFINISHED]
        rows.append(Row(name, begun, FAILED, "; ".join(dict.fromkeys(problems))))
    return rows or [Row(name)]


def _standing(name: str, run: RunFolder) -> tuple[str, str]:
    """Compare a run with its recipe: (state, remark)."""
    differing = changes(run, recipes.find(name))
    epochs = run.recipe().epochs
    whole = recipes.find(name).epochs
    said = [f"{field}={ours}, not {theirs}" for field, (ours, theirs) in differing.items()]
    if not run.is_finished():
        return UNFINISHED, "; ".join(
            [f"{len(run.history())} of {quantity(epochs, 'epoch')}", *said]
        )
    if epochs < whole:
        others = [text for text in said if not text.startswith("epochs=")]
        return SHORTENED, "; ".join([f"{epochs} of {quantity(whole, 'epoch')}", *others])
    if said:
        return CHANGED, "; ".join(said)
    stated = recipes.entry(name).published.faces
    seen = sum(_counts(run).values())
    if stated is not None and seen != stated:
        return OTHER_FACES, f"trained and validated on {quantity(seen, 'face')}, not {stated:,}"
    return FULL, ""


def _settings(recipe: Recipe) -> dict[str, str]:
    """Flatten a recipe to field -> text, with all options of the network and without the seed."""
    whole = replace(with_all_options(recipe), seed=0)
    checked = from_dict(to_dict(whole), recipe.name)  # so that 10 and 10.0 are equal
    return dict(flatten(to_dict(checked)))


def _ours(
    run: RunFolder, test: dict[str, Any] | None, figure: str, epoch: str
) -> tuple[float | None, tuple[float, float] | None]:
    """A figure of a run and its 95 % interval over faces; each None if there is none."""
    if figure in ("test_accuracy", "test_loss"):
        if test is None:
            return None, None
        official = test["views"]["none"]["official"]
        if figure == "test_loss":
            return official["cross_entropy"], None
        low, high = official["accuracy_interval"]
        return official["accuracy"], (low, high)
    history = validated(run.history())
    if not history:
        return None, None
    row = run.kept_epoch() if epoch == "kept" else history[-1]
    if figure == "best_validation_accuracy":
        row = max(history, key=lambda row: row["validation_accuracy"])
    value = row[figure.removeprefix("best_")]
    faces = _counts(run).get("validation", 0)
    if not faces or not figure.endswith(("validation_accuracy", "gap")):
        return value, None
    low, high = accuracy_interval(round(row["validation_accuracy"] * faces), faces)
    if figure == "gap":  # the training accuracy has no interval
        return value, (row["train_accuracy"] - high, row["train_accuracy"] - low)
    return value, (low, high)


def _counts(run: RunFolder) -> dict[str, int]:
    """Number of faces that a run was trained and validated on, by split."""
    return (run.environment().get("data") or {}).get("counts") or {}


def _device(environment: Mapping[str, Any]) -> str:
    device, threads = environment.get("device", "-"), environment.get("threads")
    if device == "cpu":
        device = environment.get("processor") or "CPU"
        if isinstance(threads, int):
            device += f", {quantity(threads, 'thread')}"
    return f"{device}, {environment.get('precision', '-')}"


def _plain(summary: MeanSd | None) -> dict[str, Any] | None:
    return asdict(summary) if summary else None


def total_seconds(rows: Sequence[Row]) -> float:
    """Sum the seconds of training of all runs of all rows."""
    return sum(run.seconds() for row in rows for run in row.runs)
