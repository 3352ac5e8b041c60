"""The page of a diagnosis: diagnosis.html, .md and .json, and its text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mien.evaluation.text import duration, percent
from mien.files import write_json
from mien.pages.blocks import Block, Columns, Facts, Heading, Page, Table, Text, section
from mien.pages.render import as_terminal, draw, write
from mien.studies import diagnosis_figures as figures
from mien.studies.plan import Diagnosis, PlannedTrial
from mien.studies.verdicts import Effect, Verdict, effect, label_noise, summary, verdicts
from mien.terminal import Stack

_HEAD = [
    "trial",
    "faces",
    "epochs",
    "training",
    "validation",
    "difference",
    "95 % interval",
    "gap",
    "minutes",
]


EXPLANATION = (
    "Accuracies are those of the kept weights (best on validation), measured without augmentation "
    "and dropout; training on up to 5,000 of the faces that were fitted. The gap is their difference, "
    "in points. Differences are validation accuracy less that of the recipe as it is, with a paired "
    "bootstrap interval over faces; another seed shows what chance alone does."
)


def write_diagnosis(diagnosis: Diagnosis) -> Path:
    """Write diagnosis.html, .md and .json and the figures into the folder of the trials.

    Returns:
        The path of diagnosis.html.
    """
    found = verdicts(diagnosis)
    drawn = _draw(diagnosis)
    blocks: list[Block] = [
        Text(summary(diagnosis, found)),
        *drawn["overview"],
    ]
    for item in found:
        blocks += [Heading(item.question), Text(item.verdict), *drawn.get(item.factor, [])]
    trials = Table(_HEAD, _rows(diagnosis))
    blocks += section("The trials", trials, said=EXPLANATION)
    blocks += section("Data, budget and machine", Facts(_facts(diagnosis)))
    page = Page(f"{diagnosis.recipe.name}: why does it overfit?", blocks)
    write(page, diagnosis.out / "diagnosis.md")
    write_json(diagnosis.out / "diagnosis.json", plain(diagnosis, found))
    return write(page, diagnosis.out / "diagnosis.html")


def render_diagnosis(diagnosis: Diagnosis, found: Sequence[Verdict]) -> Stack:
    """Render a diagnosis for the terminal: the trials, then the answers and the facts behind them."""
    shown = [_HEAD.index(name) for name in ("trial", "training", "validation", "difference", "gap")]
    rows = [[row[place] for place in shown] for row in _rows(diagnosis)]
    answers: list[Block] = [Text(summary(diagnosis, found)), Text("")]
    for item in found:
        answers += [Heading(item.question), Text(item.verdict), Text("")]
    trials = Table([_HEAD[place] for place in shown], rows, title=diagnosis.recipe.name)
    return as_terminal(trials, *answers, Facts(_facts(diagnosis)))


def plain(diagnosis: Diagnosis, found: Sequence[Verdict]) -> dict[str, Any]:
    """Convert a diagnosis and its verdicts to plain values, for diagnosis.json."""
    return {
        "recipe": diagnosis.recipe.name,
        "data": diagnosis.train.store.source,
        "fingerprint": diagnosis.train.store.fingerprint,
        "base_share": diagnosis.base,
        "summary": summary(diagnosis, found),
        "findings": [asdict(item) | {"question": item.question} for item in found],
        "trials": [_plain_trial(step, diagnosis) for step in diagnosis.outcomes],
        "left_out_seconds": {
            step.trial.name: round(seconds) for step, seconds in diagnosis.left_out.items()
        },
        "budget_seconds": diagnosis.budget,
    }


def _draw(diagnosis: Diagnosis) -> dict[str, list[Block]]:
    """Draw the figures and save them as PNG beside the page: factor -> its blocks, and `overview`."""
    out = diagnosis.out
    said = "Training and validation accuracy of each trial, and the gap between them"
    drawn: dict[str, list[Block]] = {
        "overview": [draw(figures.overview(diagnosis), out, "overview", said, "wide")]
    }
    if diagnosis.of("data"):
        curve, said = figures.learning(diagnosis), "Accuracy by number of training faces"
        drawn["data"] = [draw(curve, out, "learning-curve", said, "medium")]
    labels = []
    noise = label_noise(diagnosis)
    if noise is not None:
        bars, said = figures.rejected(noise), "Accuracy on accepted and rejected labels"
        labels.append(draw(bars, out, "rejected-labels", said, "medium"))
    for shuffled in diagnosis.of("labels"):
        curves = figures.memorising(diagnosis.baseline, shuffled)
        said = "Training accuracy by epoch on real labels and on labels dealt at random"
        labels.append(draw(curves, out, "shuffled-labels", said, "medium"))
    drawn["labels"] = [Columns(labels)] if len(labels) > 1 else list(labels)
    return drawn


def _rows(diagnosis: Diagnosis) -> list[list[str]]:
    return [_row(effect(outcome, diagnosis), diagnosis) for outcome in diagnosis.outcomes.values()]


def _row(found: Effect, diagnosis: Diagnosis) -> list[str]:
    outcome = found.outcome
    is_baseline = outcome is diagnosis.baseline
    low, high = (100 * end for end in found.interval)
    return [
        outcome.trial.label,
        f"{len(outcome.trial.faces(diagnosis.train)):,}",
        str(len(outcome.run.history())),
        percent(outcome.train_accuracy, 2),
        percent(outcome.validation_accuracy, 2),
        "" if is_baseline else f"{100 * found.difference:+.2f}",
        "" if is_baseline else f"{low:+.2f} to {high:+.2f}",
        f"{100 * outcome.gap:.2f}",
        f"{outcome.seconds / 60:.1f}",
    ]


def _plain_trial(step: PlannedTrial, diagnosis: Diagnosis) -> dict[str, Any]:
    outcome = diagnosis.outcomes[step]
    found = effect(outcome, diagnosis)
    return {
        "name": outcome.trial.name,
        "factor": step.factor,
        "label": outcome.trial.label,
        "faces": len(outcome.trial.faces(diagnosis.train)),
        "epochs": len(outcome.run.history()),
        "kept_epoch": int(outcome.run.kept_epoch()["epoch"]),
        "train_accuracy": outcome.train_accuracy,
        "validation_accuracy": outcome.validation_accuracy,
        "gap": outcome.gap,
        "difference": found.difference,
        "difference_interval": list(found.interval),
        "beyond_noise": found.beyond_noise,
        "still_rising": found.still_rising,
        "seconds": outcome.seconds,
    }


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    left_out = [
        f"{step.trial.label} (about {duration(seconds)})"
        for step, seconds in diagnosis.left_out.items()
    ]
    environment = diagnosis.baseline.run.environment()
    spent = sum(outcome.seconds for outcome in diagnosis.outcomes.values())
    return [
        ("data", diagnosis.train.store.source),
        (
            "training faces",
            f"{len(diagnosis.train):,} in the split; trials use {percent(diagnosis.base, 0)}",
        ),
        ("validation faces", f"{len(diagnosis.validation):,}, the same for every trial"),
        ("FER+ votes", "read" if diagnosis.votes is not None else "not given (--votes)"),
        (
            "training time",
            f"{duration(spent)} in all; budget of the last call {duration(diagnosis.budget)}",
        ),
        ("device", f"{environment.get('processor')}, {environment.get('device')}"),
        ("left out for the budget", ", ".join(left_out) if left_out else "nothing"),
    ]
