"""Evaluations as tables for the terminal, and several seeds as mean ± standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mien.errors import InputError
from mien.evaluation.across import Across
from mien.evaluation.evaluation import Evaluation, ViewScores
from mien.evaluation.metrics import Scores
from mien.evaluation.people import Estimate, People
from mien.evaluation.text import BRIER, IN_NATS, figure_text, interval_text
from mien.terminal import Stack, table

#: The headline that is shown only where it says something: where there are near copies.
NEAR = "without near copies"

#: Those that evaluations of earlier versions lack; pages show them with the reliability diagram.
ADAPTIVE = "adaptive calibration error"
OF_CALIBRATION = (ADAPTIVE, BRIER)

#: Below the calibration error: what is left of it for a network that is perfectly calibrated.
BY_CHANCE = "by chance alone"

#: The headline figures in the order of every table: name -> its value, None where undefined.
HEADLINES: dict[str, Callable[[ViewScores], float | None]] = {
    "accuracy": lambda s: s.official.accuracy,
    "deduplicated accuracy": lambda s: s.deduplicated.accuracy if s.deduplicated else None,
    NEAR: lambda s: s.without_near_copies.accuracy if s.without_near_copies else None,
    "balanced accuracy": lambda s: s.official.balanced_accuracy,
    "macro F1": lambda s: s.official.macro_f1,
    "cross-entropy": lambda s: s.official.cross_entropy,
    "calibration error": lambda s: s.official.calibration_error,
    ADAPTIVE: lambda s: s.official.adaptive_calibration_error,
    BRIER: lambda s: s.official.brier_score,
}


@dataclass(frozen=True)
class MeanSd:
    """A figure over n seeds: mean and sample standard deviation (ddof 1; None for one seed)."""

    mean: float
    sd: float | None
    n: int


def over_seeds(values: Sequence[float]) -> MeanSd:
    """Mean and standard deviation of one figure over seeds.

    >>> over_seeds([0.5, 0.7]).mean
    0.6
    """
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return MeanSd(float(np.mean(values)), sd, len(values))


def summarise(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, MeanSd]]:
    """view -> headline -> mean ± sd over the evaluations of several seeds.

    Views that not every evaluation has, and figures not defined in every one, are left out.
    """
    if not evaluations:
        raise InputError("there is no evaluation to summarise; run `mien evaluate` first")
    first = evaluations[0]
    for other in evaluations[1:]:
        if (other.split, other.expressions) != (first.split, first.expressions):
            raise InputError(
                f"evaluations of {first.split} and {other.split} cannot be summarised together: "
                "give one split and one label set"
            )
    summaries: dict[str, dict[str, MeanSd]] = {}
    for view in first.views:
        if any(view not in evaluation.scores for evaluation in evaluations):
            continue
        summaries[view] = {}
        for name, value in HEADLINES.items():
            values = [value(evaluation.scores[view]) for evaluation in evaluations]
            defined = [v for v in values if v is not None]
            if len(defined) == len(values):
                summaries[view][name] = over_seeds(defined)
    return summaries


def summary_text(name: str, summary: MeanSd | None) -> str:
    """mean ± sd, or the figure alone for one seed.

    >>> summary_text("accuracy", MeanSd(0.6, 0.0123, 5))
    '60.00 ± 1.23 %'
    """
    if summary is None:
        return "-"
    if summary.sd is None:
        return figure_text(name, summary.mean)
    if name in (IN_NATS, BRIER):
        return f"{summary.mean:.4f} ± {summary.sd:.4f}"
    return f"{100 * summary.mean:.2f} ± {100 * summary.sd:.2f} %"


def render_table(evaluation: Evaluation) -> Group:
    """The scores of one evaluation for people: a table of views and one of expressions."""
    without = len(evaluation) - int(evaluation.copies.sum())
    if evaluation.split == "train":
        counts = "those that the network was fitted to"
    elif evaluation.training_faces:
        counts = f"{without:,} without a copy in training"
        if nearer := evaluation.near_copies_in_training:
            counts += f", {without - nearer:,} without a near copy either"
    else:
        counts = "no training faces to look for copies in"
    across = evaluation.across
    name = evaluation.split if across is None else f"{evaluation.source} ({across.split})"
    views = table("", *evaluation.views, title=f"{name}: {len(evaluation):,} faces, {counts}")
    scores = evaluation.scores.values()
    for name, value in HEADLINES.items():
        if name != NEAR or evaluation.near_copies_in_training:
            views.add_row(name, *(figure_text(name, value(of_view)) for of_view in scores))
        if name == "accuracy":
            intervals = (interval_text(of_view.official.accuracy_interval) for of_view in scores)
            views.add_row("  95% interval", *intervals)
        if name == "calibration error":
            chances = (of_view.official.calibration_chance for of_view in scores)
            views.add_row(f"  {BY_CHANCE}", *map(chance_text, chances))
    parts: list[RenderableType] = [views, _per_class(evaluation, evaluation.views[0])]
    if across is not None:
        _add_own_answers(views, across, evaluation.views)
        parts += [Text(sentence) for sentence in across.sentences(evaluation.expressions)]
    if evaluation.people is not None:
        parts.append(_people(evaluation.people))
    parts += [Text(f"note: {sentence}") for sentence in evaluation.notes]
    return Stack(*parts)


def _add_own_answers(views: Table, across: Across, names: Sequence[str]) -> None:
    """What somebody sees who uses the network, out of everything it knows."""
    own = [across.own_answers[name] for name in names]
    views.add_section()
    views.add_row(
        f"its own answers, of all {len(across.known)}",
        *(figure_text("accuracy", one.accuracy) for one in own),
    )
    views.add_row("  95% interval", *(interval_text(one.accuracy_interval) for one in own))
    views.add_row("  not a shared expression", *(figure_text("", one.elsewhere) for one in own))


def _people(people: People) -> Table:
    """Beside FER+'s annotators."""
    title = f"beside people ({people.source}), view none"
    rows = table("", "figure", "95% interval", "faces", title=title)
    for name, share, of in people_rows(people):
        rows.add_row(name, *share, f"{of:,}")
    rows.caption_justify = "left"
    rows.caption = people_left_out(people)
    return rows


def people_rows(people: People) -> list[tuple[str, tuple[str, str], int]]:
    """(what, (figure, interval), faces) for every table that sets a network beside people."""

    def text(share: Estimate) -> tuple[str, str]:
        return figure_text("", share.value), interval_text(share.interval)

    low, high = people.divergence.interval
    lead = people.lead
    every = people.decided + people.elsewhere
    return [
        ("names what the majority names", text(people.majority), people.decided),
        *(
            (name, text(share), of)
            for name, share, of in (
                ("  each expression counting alike", people.balanced, people.decided),
                ("  mean of these two (J)", people.score, people.decided),
                ("  of FER+'s eight, those it lacks missed", people.of_eight, every),
            )
            if share is not None
        ),
        *(
            (f"  of {name}", (figure_text("", recall), ""), faces)
            for name, (recall, faces) in people.recalls.items()
        ),
        ("  the challenge's label does", (figure_text("", people.labels), ""), people.decided),
        ("names what most others name", text(people.network), people.annotated),
        ("  one annotator does", text(people.annotator), people.annotated),
        (
            "  the network's lead, points",
            (f"{100 * lead.value:+.2f}", interval_text(lead.interval)),
            people.annotated,
        ),
        (
            "KL divergence from votes, nats",
            (f"{people.divergence.value:.4f}", f"{low:.4f} to {high:.4f}"),
            people.compared,
        ),
        ("correlation with votes", (f"{people.correlation:.3f}", ""), people.compared),
    ]


def people_cells(people: People) -> list[list[str]]:
    """`people_rows` for pages, where nothing is set in by blanks."""
    return [[name.strip(), *share, f"{faces:,}"] for name, share, faces in people_rows(people)]


def calibration_rows(before: Scores, after: Scores) -> list[list[str]]:
    """[what, before, after] for every page that shows what calibration does."""
    names = {
        "accuracy": "accuracy",
        "balanced accuracy": "balanced_accuracy",
        "expected calibration error": "calibration_error",
        "of equally full bins": "adaptive_calibration_error",
        "of each expression": "classwise_calibration_error",
        IN_NATS: "cross_entropy",
        BRIER: "brier_score",
    }
    rows = [
        [name, *(figure_text(name, getattr(scores, field)) for scores in (before, after))]
        for name, field in names.items()
    ]
    chances = (chance_text(scores.calibration_chance) for scores in (before, after))
    rows.insert(3, [BY_CHANCE, *chances])
    return rows


def chance_text(chance: tuple[float, float] | None) -> str:
    """The calibration error of chance alone; evaluations of earlier versions do not tell it."""
    return "-" if chance is None else f"{interval_text(chance)} %"


def people_left_out(people: People) -> str:
    """What a reader has to know of the faces that were compared."""
    told = (
        f"Majority and votes as FER+'s authors define them, over {', '.join(people.expressions)}. Without a "
        f"majority: {people.unknown:,} faces; called no face: {people.no_face:,}"
    )
    if people.elsewhere:
        told += f"; a majority for what the network does not know: {people.elsewhere:,}"
    return told + "."


def _per_class(evaluation: Evaluation, view: str) -> Table:
    rows = table(
        "expression", "precision", "recall", "F1", "faces", title=f"each expression, view {view}"
    )
    scores = evaluation.scores[view].official.per_class
    for expression, item in zip(evaluation.expressions, scores, strict=True):
        figures = (figure_text("", v) for v in (item.precision, item.recall, item.f1))
        rows.add_row(expression, *figures, f"{item.support:,}")
    return rows


def render_summary(evaluations: Sequence[Evaluation]) -> Table:
    """Several seeds' evaluations of one split for the terminal: mean ± sd."""
    summaries = summarise(evaluations)
    first = evaluations[0]
    rows = table(
        "",
        *summaries,
        title=f"{first.split}: {len(first):,} faces, mean ± sd over {len(evaluations)} seeds",
    )
    for name in HEADLINES:
        if name != NEAR or any(NEAR in of for of in summaries.values()):
            rows.add_row(name, *(summary_text(name, of.get(name)) for of in summaries.values()))
    if len({_faces(evaluation) for evaluation in evaluations}) > 1:
        rows.caption_justify = "left"
        rows.caption = (
            f"The {first.split} faces are not the same for all: figures differ by that, too."
        )
    return rows


def _faces(evaluation: Evaluation) -> tuple[str, frozenset[str]]:
    """Which faces were scored, whatever their order."""
    return evaluation.fingerprint, frozenset(evaluation.rows.tolist())
