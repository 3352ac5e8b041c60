"""Tables of evaluations, for the terminal and for pages."""

from __future__ import annotations

from collections.abc import Sequence

from mien.errors import quantity
from mien.evaluation.across import Across
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.metrics import Scores
from mien.evaluation.people import Estimate, People
from mien.evaluation.summary import HEADLINES, NEAR, MeanSd, summarise
from mien.evaluation.text import BRIER, IN_NATS, figure_text, interval_text
from mien.pages.blocks import Block, Table, Text
from mien.pages.render import as_terminal
from mien.terminal import Stack

#: Name of the row below the calibration error: the error that a perfectly calibrated network has by chance.
BY_CHANCE = "by chance alone"


def summary_text(name: str, summary: MeanSd | None) -> str:
    """Write mean ± sd, or the figure alone if there is one seed; "-" for None.

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


def render_table(evaluation: Evaluation) -> Stack:
    """Render an evaluation for the terminal: a table of views and one of expressions."""
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
    scores = evaluation.scores.values()
    rows: list[list[str]] = []
    for headline, value in HEADLINES.items():
        if headline != NEAR or evaluation.near_copies_in_training:
            rows.append([headline, *(figure_text(headline, value(one)) for one in scores)])
        if headline == "accuracy":
            intervals = (interval_text(one.official.accuracy_interval) for one in scores)
            rows.append(["  95% interval", *intervals])
        if headline == "calibration error":
            chances = (chance_text(one.official.calibration_chance) for one in scores)
            rows.append([f"  {BY_CHANCE}", *chances])
    if across is not None:
        rows += _own_answers(across, evaluation.views)
    title = f"{name}: {quantity(len(evaluation), 'face')}, {counts}"
    parts: list[Block] = [
        Table(["", *evaluation.views], rows, title=title),
        per_class_table(evaluation, evaluation.views[0]),
    ]
    if across is not None:
        parts += [Text(sentence) for sentence in across.sentences(evaluation.expressions)]
    if evaluation.people is not None:
        parts.append(people_table(evaluation.people))
    return as_terminal(*parts, *(Text(f"note: {sentence}") for sentence in evaluation.notes))


def _own_answers(across: Across, views: Sequence[str]) -> list[list[str]]:
    """Rows on the unrestricted answers, among all expressions that the network knows; the first is a line."""
    own = [across.own_answers[name] for name in views]
    known = f"its own answers, of all {len(across.known)}"
    return [
        [],
        [known, *(figure_text("accuracy", one.accuracy) for one in own)],
        ["  95% interval", *(interval_text(one.accuracy_interval) for one in own)],
        ["  not a shared expression", *(figure_text("", one.elsewhere) for one in own)],
    ]


def people_table(people: People) -> Table:
    """Tabulate the comparison with FER+'s annotators: each figure, its interval and its number of faces."""
    rows = [[name, *share, f"{of:,}"] for name, share, of in _people_rows(people)]
    return Table(
        ["", "figure", "95 % interval", "faces"],
        rows,
        title=f"beside people ({people.source}), view none",
        caption=_left_out(people),
    )


def _people_rows(people: People) -> list[tuple[str, tuple[str, str], int]]:
    """Rows of the comparison with annotators: (name, (figure, interval), faces)."""

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


def calibration_rows(before: Scores, after: Scores) -> list[list[str]]:
    """Rows [name, before, after] of the figures that calibration changes, for all pages."""
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
    """Write the interval of the calibration error by chance; "-" for None, as in evaluations of earlier versions."""
    return "-" if chance is None else f"{interval_text(chance)} %"


def _left_out(people: People) -> str:
    """The caption of the comparison: definitions, and the faces that were left out."""
    told = (
        f"Majority and votes as FER+'s authors define them, over {', '.join(people.expressions)}. Without a "
        f"majority: {quantity(people.unknown, 'face')}; called no face: {people.no_face:,}"
    )
    if people.elsewhere:
        told += f"; a majority for what the network does not know: {people.elsewhere:,}"
    return told + "."


def per_class_table(evaluation: Evaluation, view: str) -> Table:
    """Tabulate precision, recall, F1 and number of faces of each expression."""
    scores = evaluation.scores[view].official.per_class
    rows = [
        [
            name,
            *(figure_text("", v) for v in (own.precision, own.recall, own.f1)),
            f"{own.support:,}",
        ]
        for name, own in zip(evaluation.expressions, scores, strict=True)
    ]
    head = ["expression", "precision", "recall", "F1", "faces"]
    return Table(head, rows, title=f"each expression, view {view}")


def render_summary(evaluations: Sequence[Evaluation]) -> Stack:
    """Render the evaluations of several seeds of one split for the terminal: mean ± sd."""
    summaries = summarise(evaluations)
    first = evaluations[0]
    rows = [
        [name, *(summary_text(name, of.get(name)) for of in summaries.values())]
        for name in HEADLINES
        if name != NEAR or any(NEAR in of for of in summaries.values())
    ]
    title = f"{first.split}: {quantity(len(first), 'face')}, mean ± sd over {len(evaluations)} runs"
    others = f"The {first.split} faces are not the same for all: figures differ by that, too."
    caption = others if len({_faces(evaluation) for evaluation in evaluations}) > 1 else ""
    return as_terminal(Table(["", *summaries], rows, title=title, caption=caption))


def _faces(evaluation: Evaluation) -> tuple[str, frozenset[str]]:
    """Identify the scored faces: (fingerprint of the data, their rows), independent of their order."""
    return evaluation.fingerprint, frozenset(evaluation.rows.tolist())
