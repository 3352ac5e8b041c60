"""The run folder: everything one training leaves behind, enough to resume, evaluate, compare and report.

recipe.json                 the recipe, every field resolved
environment.json            versions, device, command, data fingerprint; once trained, seconds and the kept epoch
history.csv                 one row an epoch: HISTORY_COLUMNS
last/  best/                weights.safetensors (and in last/ state.pt to go on from, and the one before it)
evaluation-<split>.json     scores; probabilities-<split>.csv beside it
corruptions-<split>.json    accuracy and calibration on faces made worse; .html and .png beside it
exclusions.csv              the training faces that were left out, where some were
imported.py.txt             the file of one's own that --import ran, where one was: a record, nothing runs it
report.html, *.png          what people look at; training.png shows the curves while it trains,
                            training-faces.png some training faces as augmentation changes them
tracking.json               who the run is in each tracker; tensorboard/, wandb/, mlflow/ beside it
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
#: figures are running means over the epoch, as most people report them: of the objective (smoothed and
#: weighted where the recipe says so), with augmentation and dropout on and weights that still move. So they
#: look worse than `mien evaluate --split train`, and the gap smaller. Validation is plain cross-entropy.
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
#: What every row has; an epoch that was not validated lacks the others.
_ALWAYS = set(HISTORY_COLUMNS) - {"validation_loss", "validation_accuracy", "gap"}
#: One more column if a recipe has FER+'s votes: see mien.evaluation.people.people_score.
JUDGED_BY_PEOPLE = "validation_people"
#: What environment.json calls the epoch whose weights were kept, from the end of the training on.
KEPT_EPOCH = "kept_epoch"
#: `select=people` chooses among the epochs after this share of them: the best of all would be luck.
LATE = 0.8
#: How a sentence ends about a file of a run that is not what training wrote.
_REMEDY = "the run folder is not whole, train again"
_NUMBER = (int, float)
#: The kinds of what environment.json says, where others build on it.
_FACTS = {
    "seconds": _NUMBER, "processes": int, "threads": int, "data": dict, "init": dict, "resumed": list,
    "mien": str, "started": str, "device": str, "processor": str, "precision": str, "command": str,
}  # fmt: skip
_FACTS_OF_DATA = {
    "source": str,
    "fingerprint": str,
    "expressions": list,
    "counts": dict,
    "notes": list,
}


#: What every recipe.json of a run says; what later versions added has its default in the runs of earlier ones.
_ESSENTIAL = ("name", "model", "input", "expressions", "split")
_T = TypeVar("_T")


def validated(history: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """The rows of a history that have figures of validation: a recipe may skip epochs (`validate_every`)."""
    return [row for row in history if "validation_accuracy" in row]


def worth(row: Mapping[str, float], recipe: Recipe) -> float:
    """How good an epoch is by what a recipe selects: the best is kept, of equals the first.

    Args:
        row: of the history, of a validated epoch.
    """
    if recipe.select == "people" and row["epoch"] > LATE * recipe.epochs:
        return row[JUDGED_BY_PEOPLE]
    figures = {
        "accuracy": row["validation_accuracy"],
        "loss": -row["validation_loss"],
        "last": row["epoch"],
    }
    # Until people judge, whose scores are 0..1, each epoch takes the place of the one before.
    return figures.get(recipe.select, row["epoch"] - recipe.epochs - 1)


@dataclass(frozen=True)
class RunFolder:
    """The paths and contents of one run. Reading needs no torch.

    What was read is kept: a file is read again, and the weights are hashed again, only if they changed. So
    whoever opens a run hands it on, rather than its path.
    """

    path: Path
    _readings: dict[Path, tuple[object, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(cls, path: Path | str | RunFolder) -> RunFolder:
        """An existing run; InputError where the folder is missing or is not a run."""
        run = path if isinstance(path, RunFolder) else cls(Path(path))
        if not run.path.exists():
            raise InputError(f"{run.path}: no such run folder; `mien train` makes one")
        if not run.recipe_path.is_file():
            raise InputError(
                f"{run.path}: not a run folder (it has no recipe.json); give a folder that `mien train` wrote"
            )
        run.recipe()
        return run

    @classmethod
    def expand(cls, path: Path | str | RunFolder) -> list[RunFolder]:
        """The run at `path`, or the runs of its seeds where `mien train --seeds` wrote several."""
        folder = path.path if isinstance(path, RunFolder) else Path(path)
        if (folder / "recipe.json").is_file():
            return [cls.open(path)]
        seeds = sorted(
            (f for f in folder.glob("seed-*") if (f / "recipe.json").is_file()),
            key=lambda f: int(f.name.removeprefix("seed-")) if f.name[5:].isdecimal() else 0,
        )
        return [cls.open(f) for f in seeds] if seeds else [cls.open(folder)]

    def refuse_if_taken(self) -> None:
        """InputError where the folder holds a run already."""
        if self.recipe_path.exists():
            raise InputError(
                f"{self.path}: holds a run already; choose another --out, or go on with --resume"
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
        """The state that was saved before the last one, for the day that one is damaged."""
        return self.path / "last" / "state-before.pt"

    @property
    def has_state(self) -> bool:
        """Whether training can go on from somewhere; else it begins anew."""
        return self.state_path.exists() or self.earlier_state_path.exists()

    @property
    def exclusions_path(self) -> Path:
        return self.path / "exclusions.csv"

    @property
    def imported_path(self) -> Path:
        """The file that --import ran: a record, which nothing runs."""
        return self.path / "imported.py.txt"

    def evaluation_path(self, split: str) -> Path:
        return self.path / f"evaluation-{split}.json"

    def probabilities_path(self, split: str) -> Path:
        return self.path / f"probabilities-{split}.csv"

    def recipe(self) -> Recipe:
        """The resolved recipe; InputError where its file is missing, damaged or not of a run."""
        return self._read(self.recipe_path, _read_recipe)

    def environment(self) -> dict[str, Any]:
        """What the training wrote of itself: every fact is of its kind, or missing, or None."""
        return deepcopy(self._read(self.environment_path, _read_environment))

    def evaluation(self, split: str) -> dict[str, Any] | None:
        """The scores of a split, or None where it was not evaluated yet."""
        path = self.evaluation_path(split)
        return deepcopy(self._read(path, _read_json)) if path.is_file() else None

    def weights_digest(self) -> str | None:
        """sha256 of the best weights, in hexadecimal, or None where there are none."""
        return self._read(self.best_weights, _sha256) if self.best_weights.is_file() else None

    def history(self) -> list[dict[str, float]]:
        """One dict of HISTORY_COLUMNS an epoch, in order; empty before the first epoch ends.

        An epoch that was not validated lacks `validation_loss`, `validation_accuracy` and `gap`.
        """
        path = self.history_path
        return deepcopy(self._read(path, _read_history)) if path.exists() else []

    def imported(self) -> dict[str, Any] | None:
        """`file` and `sha256` of what --import ran for its training; None without."""
        told = self.known_environment().get("imported")
        return told if isinstance(told, dict) else None

    def known_environment(self) -> dict[str, Any]:
        """The environment as far as it was written down."""
        return self.environment() if self.environment_path.is_file() else {}

    def plot(self) -> Any:
        """Accuracy and loss by validated epoch: a matplotlib Figure, which a notebook shows.

        Raises:
            InputError: before the first epoch was validated, or without the extra `report`.
        """
        history = validated(self.history())
        if not history:
            raise InputError(f"{self.path}: no epoch was validated yet; go on with --resume")
        # What draws lies above the run folder: it is asked by name, as `mien` asks for its verbs.
        return importlib.import_module("mien.pages.plots_of_runs").curves(history)

    def is_finished(self) -> bool:
        """Whether its training came to its end; one that was stopped can be resumed."""
        return self.environment().get("seconds") is not None

    def kept_epoch(self) -> dict[str, float]:
        """The history's row of the epoch whose weights were kept; InputError before the first one ended.

        The end of a training writes it down. Where it is not written, in a run that may still go on or that an
        earlier version trained, it is the best so far, by the same function that training asks.
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
        """What `read` makes of a file, kept until the file is another one."""
        try:
            status = path.stat()
        except OSError:
            return read(path)  # which says it in a sentence
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
                f"{path}: not the figures that training wrote ({error}); train again"
            ) from error
    return rows


def _refuse_other_kinds(
    content: Mapping[str, Any], kinds: Mapping[str, Any], prefix: str, path: Path
) -> None:
    for name, kind in kinds.items():
        value = content.get(name)
        if value is not None and not isinstance(value, kind):
            raise InputError(f"{path}: {prefix}{name} is not what training writes there; {_REMEDY}")
