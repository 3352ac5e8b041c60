"""The run folder: everything one training leaves behind, enough to resume, evaluate, compare and report.

recipe.json                 the recipe, every field resolved
environment.json            versions, device, command, data fingerprint
history.csv                 one row an epoch: HISTORY_COLUMNS
last/  best/                weights.safetensors (and in last/ state.pt to go on from, and the one before it)
evaluation-<split>.json     scores; probabilities-<split>.csv beside it
corruptions-<split>.json    accuracy and calibration on faces made worse; .html and .png beside it
exclusions.csv              the training faces that were left out, where some were
report.html, *.png          what people look at; training.png shows the curves while it trains
tracking.json               who the run is in each tracker; tensorboard/, wandb/, mlflow/ beside it
"""

from __future__ import annotations

import csv
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.files import read_json
from mien.recipe import from_dict

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


def validated(history: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """The rows of a history that have figures of validation: a recipe may skip epochs (`validate_every`)."""
    return [row for row in history if "validation_accuracy" in row]


@dataclass(frozen=True)
class RunFolder:
    """The paths and plain contents of one run. Reading needs no torch."""

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """An existing run; InputError where the folder is missing or is not a run, or its recipe none of mien's."""
        run = cls(Path(path))
        if not run.path.exists():
            raise InputError(f"{path}: no such run folder; `mien train` makes one")
        if not run.recipe_path.is_file():
            raise InputError(
                f"{path}: not a run folder (it has no recipe.json); give a folder that `mien train` wrote"
            )
        missing = {"name", "model", "input", "expressions", "split"} - run.recipe().keys()
        if missing:
            raise InputError(
                f"{run.recipe_path}: not a recipe of mien (it lacks {', '.join(sorted(missing))}); "
                "give a folder that `mien train` wrote"
            )
        from_dict(run.recipe(), str(run.recipe_path))
        return run

    @classmethod
    def expand(cls, path: Path | str) -> list[RunFolder]:
        """The run at `path`, or the runs of its seeds where `mien train --seeds` wrote several."""
        folder = Path(path)
        if (folder / "recipe.json").is_file():
            return [cls.open(folder)]
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

    def evaluation_path(self, split: str) -> Path:
        return self.path / f"evaluation-{split}.json"

    def probabilities_path(self, split: str) -> Path:
        return self.path / f"probabilities-{split}.csv"

    def recipe(self) -> dict[str, Any]:
        """The resolved recipe as plain values."""
        return _read_json(self.recipe_path)

    def environment(self) -> dict[str, Any]:
        """What the training wrote of itself: every fact is of its kind, or missing, or None."""
        return _read_environment(self.environment_path)

    def evaluation(self, split: str) -> dict[str, Any] | None:
        """The scores of a split, or None where it was not evaluated yet."""
        path = self.evaluation_path(split)
        return _read_json(path) if path.is_file() else None

    def history(self) -> list[dict[str, float]]:
        """One dict of HISTORY_COLUMNS an epoch, in order; empty before the first epoch ends.

        An epoch that was not validated lacks `validation_loss`, `validation_accuracy` and `gap`.
        """
        return _read_history(self.history_path) if self.history_path.exists() else []

    def plot(self) -> Any:
        """Accuracy and loss by validated epoch: a matplotlib Figure, which a notebook shows.

        Raises:
            InputError: before the first epoch was validated, or without the extra `report`.
        """
        history = validated(self.history())
        if not history:
            raise InputError(f"{self.path}: no epoch was validated yet; go on with --resume")
        # What draws lies above the run folder: it is asked by name, as `mien` asks for its verbs.
        return importlib.import_module("mien.evaluation.plots_of_runs").curves(history)

    def is_finished(self) -> bool:
        """Whether its training came to its end; one that was stopped can be resumed."""
        return self.environment().get("seconds") is not None

    def kept_epoch(self) -> dict[str, float]:
        """The history's row of the epoch whose weights were kept; InputError before the first one ended."""
        history = validated(self.history())
        if not history:
            raise InputError(f"{self.path}: no epoch was validated yet; go on with --resume")
        select = self.recipe().get("select")
        if select == "people":
            late = [row for row in history if row["epoch"] > LATE * self.recipe()["epochs"]]
            return max(late or history[-1:], key=lambda row: row[JUDGED_BY_PEOPLE])
        if select == "last":
            return history[-1]
        if select == "loss":
            return min(history, key=lambda row: row["validation_loss"])
        return max(history, key=lambda row: row["validation_accuracy"])


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
