"""A model card: intended use, training data, scores and typical errors of a run's network.

After Mitchell et al. 2019, "Model Cards for Model Reporting". All figures come from the evaluations that
`mien evaluate` saved in the run; the card states which figures were not measured.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import InputError, extra_required
from mien.evaluation.confidence import JUDGES, Confidence, confidence
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.metrics import Scores, compute_scores
from mien.evaluation.text import IN_NATS, figure_text, interval_text, percent
from mien.pages.blocks import Page, Prose, Table
from mien.pages.render import filled, markdown, write
from mien.pages.tables import calibration_rows, people_table
from mien.recipe import Recipe
from mien.runs import RunFolder

#: Number of confusions in the card: the most frequent ones, by share of the true expression's faces.
_CONFUSIONS = 5
#: Splits in a card; the headline figures are those of the first that was evaluated.
_SPLITS = ("test", "validation")
_VIEW = "none"


@dataclass(frozen=True)
class CardFiles:
    """The two files of a card, with the same content."""

    markdown: Path
    html: Path


def write_card(
    run: RunFolder, out: Path, *, licence: str | None = None, name: str | None = None
) -> CardFiles:
    """Write a run's model card as model-card.md and model-card.html into a folder.

    Args:
        run: a trained run that was evaluated on the test or the validation split.
        out: the folder; created if it does not exist.
        licence: licence of the weights.
        name: name of the model; by default the recipe's.

    Raises:
        InputError: the run has no evaluation of its present weights.
    """
    evaluations = _evaluations(run)
    name = name or run.recipe().name
    text = filled("model-card.md.j2", escape=False, **_content(run, evaluations, name, licence))
    files = CardFiles(out / "model-card.md", out / "model-card.html")
    page = Page(f"Model card: {name}", [Prose(text.strip())], kind="prose")
    for path in (files.markdown, files.html):
        write(page, path)
    return files


def _evaluations(run: RunFolder) -> dict[str, Evaluation]:
    """Load the evaluations of the run's present weights on its training's data: split -> evaluation."""
    found = {
        split: Evaluation.load(run, split)
        for split in _SPLITS
        if run.current_evaluation(split) is not None
    }
    if not found:
        raise InputError(
            f"{run.path}: a card needs scores of the weights it has now, on the data of its training; run  "
            f"mien evaluate {run.path} --split test  first"
        )
    return found


def _content(
    run: RunFolder, evaluations: Mapping[str, Evaluation], name: str, licence: str | None
) -> dict[str, Any]:
    """The variables of the card's template."""
    recipe, environment = run.recipe(), run.environment()
    headline = next(iter(evaluations.values()))
    trusted = None
    if set(evaluations) == set(_SPLITS):
        trusted = confidence(evaluations, lifts_rare=recipe.objective.lifts_rare)
    scores = headline.scores[_VIEW].official
    if trusted is not None and trusted.calibration.offsets:
        scores = trusted.after
    elif headline.majority is not None:
        known = headline.majority >= 0
        scores = compute_scores(headline.probabilities[_VIEW][known], headline.majority[known])
    people = headline.people and people_table(headline.people)
    channels, height, width = recipe.input.shape
    commands = [environment.get("command"), *(one.command for one in evaluations.values())]
    return {
        "name": name,
        "network": recipe.model.name,
        "cost": _cost(recipe),
        "expressions": recipe.expressions,
        "input": f"{channels} x {height} x {width}",
        "licence": licence or "not stated",
        "trained": _training(run),
        "split": headline.split,
        "judge": JUDGES["labels" if headline.majority is None else "votes"],
        "faces": len(headline),
        "scores": markdown(_score_table(evaluations)),
        "per_class": markdown(_per_class(scores, headline.expressions)),
        "weakest": _weakest(scores, headline.expressions),
        "confusions": _confusions(scores, headline.expressions),
        "copies": int(headline.copies.sum()),
        "calibration": trusted and _calibration(trusted),
        "people": people and markdown(people),
        "people_left_out": people and people.caption,
        "commands": list(dict.fromkeys(map(_without_folders, filter(None, commands)))),
    }


def _training(run: RunFolder) -> dict[str, Any]:
    """The training's facts, for the card's template."""
    recipe, environment, kept = run.recipe(), run.environment(), run.kept_epoch()
    data, targets = environment.get("data") or {}, recipe.targets
    taught = targets.teacher_share if targets.teacher else 0.0
    return {
        "source": Path(data.get("source", "unknown")).name,
        "fingerprint": str(data.get("fingerprint", ""))[:12],
        "faces": (data.get("counts") or {}).get("train"),
        "validation": (data.get("counts") or {}).get("validation"),
        "when": environment.get("started"),
        "device": environment.get("device"),
        "minutes": round((environment.get("seconds") or 0) / 60),
        "epoch": int(kept["epoch"]),
        "epochs": len(run.history()),
        "seed": recipe.seed,
        "init": _init(recipe, environment),
        "votes": _named(targets.votes),
        "votes_share": percent(targets.votes_share * (1 - taught), 0),
        "teacher": _named(targets.teacher),
        "teacher_share": percent(taught, 0),
        "version": environment.get("mien"),
    }


def _score_table(evaluations: Mapping[str, Evaluation]) -> Table:
    head = [
        "split",
        "view",
        "accuracy",
        "deduplicated",
        "balanced accuracy",
        "macro F1",
        IN_NATS,
        "ECE",
    ]
    rows = [
        [
            evaluation.split,
            view,
            f"{figure_text('accuracy', one.official.accuracy)} "
            f"({interval_text(one.official.accuracy_interval)})",
            figure_text("", one.deduplicated.accuracy if one.deduplicated else None),
            figure_text("", one.official.balanced_accuracy),
            figure_text("", one.official.macro_f1),
            figure_text(IN_NATS, one.official.cross_entropy),
            figure_text("", one.official.calibration_error),
        ]
        for evaluation in evaluations.values()
        for view, one in evaluation.scores.items()
    ]
    return Table(head, rows, words=2)


def _cost(recipe: Recipe) -> dict[str, str] | None:
    """Number of parameters and of multiply-adds, as text.

    Raises:
        MissingExtraError: the extra that builds networks is not installed.
    """
    with extra_required("train", "Counting a network's cost"):
        from mien.models import cost
    model = recipe.model
    found = cost(model.name, recipe.input, len(recipe.expressions), model.options)
    return {
        "parameters": f"{found.parameters:,}",
        "multiply_adds": f"{found.multiply_adds / 1e6:,.1f} million",
    }


def _init(recipe: Recipe, environment: Mapping[str, Any]) -> str | None:
    source = _named((environment.get("init") or {}).get("source") or recipe.init)
    share = recipe.init_share
    return f"{source}; {percent(share, 0)} of them in what is kept" if source and share else source


def _named(path: str | None) -> str | None:
    """The last part of a path: a card must not reveal folders of its author's machine."""
    return None if path is None else Path(path).name


def _without_folders(command: str) -> str:
    parts = [part.rpartition("=") for part in shlex.split(command)]
    return shlex.join(
        setting + equals + (Path(path).name if "/" in path else path)
        for setting, equals, path in parts
    )


def _per_class(scores: Scores, expressions: tuple[str, ...]) -> Table:
    """Tabulate recall with its interval, precision and F1 of each expression.

    The interval is Wilson's: if all or none of a few faces are found, a bootstrap would have no width.
    """
    with extra_required("report", "writing a model card"):
        from scipy.stats import binomtest
    rows = []
    for place, (name, own) in enumerate(zip(expressions, scores.per_class, strict=True)):
        recall = "-"
        if own.recall is not None:
            found = binomtest(scores.confusion[place][place], own.support)
            interval = found.proportion_ci(method="wilson")
            recall = (
                f"{figure_text('', own.recall)} ({interval_text((interval.low, interval.high))})"
            )
        others = (figure_text("", own.precision), figure_text("", own.f1))
        rows.append([name, f"{own.support:,}", recall, *others])
    head = ["expression", "faces", "found (recall)", "right when named (precision)", "F1"]
    return Table(head, rows)


def _weakest(scores: Scores, expressions: tuple[str, ...]) -> tuple[str, str]:
    """The expression with the lowest recall, and this recall as text."""
    recalls = [(own.recall, name) for own, name in zip(scores.per_class, expressions, strict=True)]
    recall, name = min((recall, name) for recall, name in recalls if recall is not None)
    return name, figure_text("", recall)


def _confusions(scores: Scores, expressions: tuple[str, ...]) -> list[str]:
    matrix = np.array(scores.confusion, dtype=np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = [np.unravel_index(place, shares.shape) for place in order]
    return [
        f"`{expressions[true]}` taken for `{expressions[said]}`: {percent(shares[true, said], 0)} of "
        f"its faces"
        for true, said in pairs
        if shares[true, said] > 0
    ]


def _calibration(found: Confidence) -> dict[str, Any]:
    """The variables of the template on calibration: figures before and after."""
    rows = calibration_rows(found.before, found.after)
    return {
        "judge": JUDGES[found.judge],
        "how": found.how,
        "offsets": bool(found.calibration.offsets),
        "accuracy": figure_text("", found.after.accuracy),
        "faces": f"{found.after.count:,}",
        "balanced": figure_text("", found.after.balanced_accuracy),
        "table": markdown(Table(["", "as it was trained", "calibrated"], rows)),
        "area": f"{found.curve.area:.3f}",
        "doubt": found.doubt,
    }
