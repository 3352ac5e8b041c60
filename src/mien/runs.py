"""The run folder: all results of one training, enough to resume, evaluate, compare and report it.

recipe.json                 the recipe, every field resolved
environment.json            versions, device, command, data fingerprint; once trained, seconds and the kept epoch
history.csv                 one row for each epoch: HISTORY_COLUMNS
last/  best/                weights.safetensors (and in last/ state.pt to resume from, and the one before it)
evaluation-<split>.json     scores; probabilities-<split>.csv beside it
corruptions-<split>.json    accuracy and calibration on corrupted faces; .html and .png beside it
exclusions.csv              the training faces that were left out, if there are any
imported.py.txt             the user's file that --import ran, if there is one: a record, it is not run again
report.html, *.png          for people; training.png shows the curves during training,
                            training-faces.png some training faces after augmentation
tracking.json               the run's identity in each tracker; tensorboard/, wandb/, mlflow/ beside it
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mien.errors import InputError
from mien.files import read_json
from mien.recipe import Recipe, from_dict

#: Losses are means in nats, accuracies 0..1, `gap` is training minus validation accuracy. The training
#: figures are running means over the epoch, as is usual: of the objective (with the recipe's label smoothing
#: and class weights), with augmentation and dropout, while the weights change. So they look worse than
#: `mien evaluate --split train`, and the gap looks smaller. The validation loss is plain cross-entropy.
HISTORY_COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "gap",
    "seconds",
    "images_per_second",
)
#: Columns that every row has; an epoch that was not validated lacks the others.
_ALWAYS = set(HISTORY_COLUMNS) - {"validation_loss", "validation_accuracy", "gap"}
#: An additional column for recipes with FER+'s votes: see mien.evaluation.people.people_score.
JUDGED_BY_PEOPLE = "validation_people"
#: The entry of environment.json with the epoch whose weights were kept, written at the end of training.
KEPT_EPOCH = "kept_epoch"
#: `select=people` chooses among the epochs after this share of all: the best of many noisy scores would be luck.
LATE = 0.8
#: The end of messages about a file of a run that training did not write, or not completely.
_REMEDY = "the run folder is not complete, train again"
_NUMBER = (int, float)
#: Types of the entries of environment.json that other modules use.
_FACTS = {
    "seconds": _NUMBER, "processes": int, "threads": int, "data": dict, "init": dict, "resumed": list,
    "mien": str, "started": str, "device": str, "processor": str, "precision": str, "command": str,
    "targets_sha256": str,
}  # fmt: skip
_FACTS_OF_DATA = {
    "source": str,
    "fingerprint": str,
    "expressions": list,
    "counts": dict,
    "notes": list,
}


#: Fields that every recipe.json of a run has; fields that later versions added get their defaults in older runs.
_ESSENTIAL = ("name", "model", "input", "expressions", "split")
_T = TypeVar("_T")


def validated(history: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """The rows of a history with validation figures: with `validate_every`, some epochs have none."""
    return [row for row in history if "validation_accuracy" in row]


def worth(row: Mapping[str, float], recipe: Recipe) -> float:
    """The score of an epoch by the recipe's `select`: the highest is kept, of equal ones the first.

    Args:
        row: the history's row of a validated epoch.
        recipe: the run's recipe.
    """
    if recipe.select == "people" and row["epoch"] > LATE * recipe.epochs:
        return row[JUDGED_BY_PEOPLE]
    figures = {
        "accuracy": row["validation_accuracy"],
        "loss": -row["validation_loss"],
        "last": row["epoch"],
    }
    # select=people, early epochs: below all scores by people (0..1), and growing, so that the latest one is kept.
    return figures.get(recipe.select, row["epoch"] - recipe.epochs - 1)


@dataclass(frozen=True)
class RunFolder:
    """The paths and contents of one run. Reading needs no torch.

    Contents are cached: a file is read, or the weights are hashed, again only if it changed on disk. So pass
    an open run on, rather than its path.

    >>> RunFolder.open("runs/mien-s").recipe().name  # doctest: +SKIP
    'mien-s'
    """

    path: Path
    _readings: dict[Path, tuple[object, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(cls, path: Path | str | RunFolder) -> RunFolder:
        """Open an existing run.

        Raises:
            InputError: the folder is missing or is not a run.
        """
        run = path if isinstance(path, RunFolder) else cls(Path(path))
        if not run.path.exists():
            raise InputError(
                f"{run.path}: no such run folder; check the name (`mien train` makes runs, `mien models --packaged` "
                "lists the models in the package)"
            )
        if not run.recipe_path.is_file():
            raise InputError(
                f"{run.path}: not a run folder (it has no recipe.json); give a folder that `mien train` wrote"
            )
        run.recipe()
        return run

    @classmethod
    def expand(cls, path: Path | str | RunFolder) -> list[RunFolder]:
        """Open the run at `path`, or all runs in it if `mien train --seeds` wrote several, by seed.

        Raises:
            InputError: the folder is missing or has no run.
        """
        folder = path.path if isinstance(path, RunFolder) else Path(path)
        if (folder / "recipe.json").is_file():
            return [cls.open(path)]
        seeds = sorted(
            (f for f in folder.glob("seed-*") if (f / "recipe.json").is_file()),
            key=lambda f: int(f.name.removeprefix("seed-")) if f.name[5:].isdecimal() else 0,
        )
        return [cls.open(f) for f in seeds] if seeds else [cls.open(folder)]

    def refuse_if_taken(self) -> None:
        """Check that the folder has no run yet.

        Raises:
            InputError: it has one.
        """
        if self.recipe_path.exists():
            raise InputError(
                f"{self.path}: holds a run already; choose another --out, or continue it with --resume"
            )

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.json"

    @property
    def environment_path(self) -> Path:
        return self.path / "environment.json"

    @property
    def history_path(self) -> Path:
        return self.path / "history.csv"

    @property
    def best_weights(self) -> Path:
        return self.path / "best" / "weights.safetensors"

    @property
    def last_weights(self) -> Path:
        return self.path / "last" / "weights.safetensors"

    @property
    def state_path(self) -> Path:
        return self.path / "last" / "state.pt"

    @property
    def earlier_state_path(self) -> Path:
        """The state that was saved before the last one, in case the last one is damaged."""
        return self.path / "last" / "state-before.pt"

    @property
    def has_state(self) -> bool:
        """Whether there is a state to resume training from."""
        return self.state_path.exists() or self.earlier_state_path.exists()

    @property
    def exclusions_path(self) -> Path:
        return self.path / "exclusions.csv"

    @property
    def imported_path(self) -> Path:
        """A copy of the file that --import ran, for the record: it is never run from here."""
        return self.path / "imported.py.txt"

    def evaluation_path(self, split: str) -> Path:
        """The file of a split's scores."""
        return self.path / f"evaluation-{split}.json"

    def probabilities_path(self, split: str) -> Path:
        """The file of a split's probabilities, with a row for each face."""
        return self.path / f"probabilities-{split}.csv"

    def recipe(self) -> Recipe:
        """The recipe with all its fields.

        Raises:
            InputError: its file is missing, damaged or not of a run.
        """
        return self._read(self.recipe_path, _read_recipe)

    def environment(self) -> dict[str, Any]:
        """The content of environment.json: facts about the training; any may be missing or None.

        Raises:
            InputError: the file is missing or damaged, or an entry has a wrong type.
        """
        return deepcopy(self._read(self.environment_path, _read_environment))

    def evaluation(self, split: str) -> dict[str, Any] | None:
        """The scores of a split; None if it was not evaluated yet.

        Raises:
            InputError: the file is damaged.
        """
        path = self.evaluation_path(split)
        return deepcopy(self._read(path, _read_json)) if path.is_file() else None

    def weights_digest(self) -> str | None:
        """The SHA-256 of the best weights in hexadecimal; None if there are none yet."""
        return self._read(self.best_weights, _sha256) if self.best_weights.is_file() else None

    def history(self) -> list[dict[str, float]]:
        """One dict of HISTORY_COLUMNS for each epoch, in order; empty before the end of the first epoch.

        An epoch that was not validated lacks `validation_loss`, `validation_accuracy` and `gap`.

        Raises:
            InputError: the file is damaged.
        """
        path = self.history_path
        return deepcopy(self._read(path, _read_history)) if path.exists() else []

    def seconds(self) -> float:
        """Duration of the training so far, the sum over its epochs."""
        return sum(row["seconds"] for row in self.history())

    def imported(self) -> dict[str, Any] | None:
        """`file` and `sha256` of the user's file that --import ran for the training; None without --import."""
        told = self.known_environment().get("imported")
        return told if isinstance(told, dict) else None

    def known_environment(self) -> dict[str, Any]:
        """The same as `environment`, but empty if its file is missing."""
        return self.environment() if self.environment_path.is_file() else {}

    def trained_on(self) -> str | None:
        """The fingerprint of the training's data, if it is known."""
        fingerprint: str | None = (self.known_environment().get("data") or {}).get("fingerprint")
        return fingerprint

    def may_be_trained_on(self, fingerprint: str | None) -> bool:
        """Whether data of this fingerprint are those of the training; True if one of the two is not known."""
        trained_on = self.trained_on()
        return not trained_on or not fingerprint or fingerprint == trained_on

    def current_evaluation(self, split: str) -> dict[str, Any] | None:
        """The figures of a split, if they are of the present weights and the training's data; else None."""
        found = self.evaluation(split)
        if found is None or found.get("weights_sha256") != self.weights_digest():
            return None
        scored_on = (found.get("data") or {}).get("fingerprint")
        return found if self.may_be_trained_on(scored_on) else None

    def plot(self) -> Any:
        """Plot accuracy and loss of the validated epochs: a matplotlib Figure, which a notebook displays.

        Raises:
            InputError: no epoch was validated yet, or the extra `report` is not installed.
        """
        history = validated(self.history())
        if not history:
            raise InputError(f"{self.path}: no epoch was validated yet; go on with --resume")
        # By name: plots are in a layer above this one.
        return importlib.import_module("mien.pages.plots_of_runs").curves(history)

    def is_finished(self) -> bool:
        """Whether the training reached its end; an interrupted one can be resumed."""
        return self.environment().get("seconds") is not None

    def kept_epoch(self) -> dict[str, float]:
        """The history's row of the epoch whose weights were kept.

        The number of this epoch is written at the end of training. In an unfinished run, or one of an earlier
        version, it is the best epoch so far by `worth`, as in training.

        Raises:
            InputError: no epoch was validated yet, or the history lacks the kept epoch.
        """
        history = validated(self.history())
        if not history:
            raise InputError(f"{self.path}: no epoch was validated yet; go on with --resume")
        number = self.known_environment().get(KEPT_EPOCH)
        if number is None:
            return max(history, key=lambda row: worth(row, self.recipe()))
        for row in history:
            if row["epoch"] == number:
                return row
        raise InputError(
            f"{self.history_path}: lacks epoch {number}, whose weights were kept; train again"
        )

    def _read(self, path: Path, read: Callable[[Path], _T]) -> _T:
        """Call `read` for a file, and cache its result until the file changes."""
        try:
            status = path.stat()
        except OSError:
            return read(path)  # it raises an InputError with a clear message
        state = status.st_ino, status.st_size, status.st_mtime_ns
        known = self._readings.get(path)
        if known is None or known[0] != state:
            known = self._readings[path] = state, read(path)
        content: _T = known[1]
        return content


def _read_recipe(path: Path) -> Recipe:
    content = _read_json(path)
    lacking = [name for name in _ESSENTIAL if not content.get(name)]
    if lacking:
        raise InputError(
            f"{path}: not a recipe of mien (it lacks {', '.join(lacking)}); "
            "give a folder that `mien train` wrote"
        )
    return from_dict(content, str(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    return read_json(path, _REMEDY)


def _read_environment(path: Path) -> dict[str, Any]:
    content = _read_json(path)
    _refuse_other_kinds(content, _FACTS, "", path)
    _refuse_other_kinds(content.get("data") or {}, _FACTS_OF_DATA, "data.", path)
    return content


def _read_history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        raise InputError(f"{path}: not a file; {_REMEDY}")
    with path.open(newline="", encoding="utf-8") as handle:
        try:
            table = csv.DictReader(handle)
            if not set(table.fieldnames or ()) >= _ALWAYS:
                raise ValueError("other columns")
            rows = [{k: float(v) for k, v in row.items() if v != ""} for row in table]
            if not all(
                row.keys() >= _ALWAYS and all(map(math.isfinite, row.values())) for row in rows
            ):
                raise ValueError("a row lacks a figure")
        except (TypeError, ValueError, csv.Error) as error:
            raise InputError(
                f"{path}: it does not have the figures that training writes ({error}); train again"
            ) from error
    return rows


def _refuse_other_kinds(
    content: Mapping[str, Any], kinds: Mapping[str, Any], prefix: str, path: Path
) -> None:
    for name, kind in kinds.items():
        value = content.get(name)
        if value is not None and not isinstance(value, kind):
            raise InputError(f"{path}: {prefix}{name} has a wrong type; {_REMEDY}")
