"""The report on corruptions: corruptions-<split>.html, and the table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.colours import BLUE
from mien.errors import quantity
from mien.evaluation.confidence import JUDGES
from mien.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from mien.evaluation.robustness import MIDDLE, REFERENCE, Figures, Robustness, reference_for
from mien.evaluation.text import percent
from mien.pages.blocks import Page, Table, Tiles, commands, section
from mien.pages.plots import INK, MUTED, blank, in_percent, legend, style
from mien.pages.render import as_terminal, draw, write

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from mien.terminal import Stack

_SEVERITIES = tuple(map(str, SEVERITIES))
EXPLANATION = (
    f"Accuracy by severity, 1 to 5. Lost: the share of the clean accuracy that is gone at severity {MIDDLE}. ECE: "
    "expected calibration error, mean over severities. CE: errors over all severities, as a share of those of "
    f"{REFERENCE} on the same faces; their mean is mCE (Hendrycks & Dietterich 2019)."
)
SURE = "The share of answers that are not uncertain, and how many of these are right, by severity."
AMOUNTS = (
    "The same random numbers at every severity, from the seed and the face alone: the same face is made worse "
    "in the same way for every network."
)


def write_robustness_page(robustness: Robustness, folder: Path) -> Path:
    """Write the page and its figure into a folder; return the path of the page."""
    name = robustness.file_name
    about = (
        f"{quantity(robustness.faces, 'face')} of the {robustness.split} split of {robustness.source}, single view, "
        f"judged by {JUDGES[robustness.judge]}"
    )
    drawn = curves(robustness)
    kinds = [[item.name, item.unit, *(f"{x:g}" for x in item.amounts)] for item in CORRUPTIONS]
    blocks = [
        Tiles([(what, value, "") for what, value in _summary(robustness)]),
        draw(drawn, folder, name, "Accuracy by severity of each corruption", "wide"),
        *section("Each corruption", _table(robustness), said=EXPLANATION),
        *section("Sure answers", _sure_table(robustness), said=SURE),
        *section(
            "Severities",
            Table(["corruption", "amount", *_SEVERITIES], kinds, words=2),
            said=AMOUNTS,
        ),
        *commands([robustness.command]),
    ]
    return write(
        Page(f"{robustness.name}: corrupted faces", blocks, about), folder / f"{name}.html"
    )


def render_robustness(robustness: Robustness) -> Stack:
    """Render the figures for the terminal."""
    sure = _sure_table(robustness)
    return as_terminal(_table(robustness), *([sure] if sure.rows else []))


def curves(robustness: Robustness) -> Figure:
    """Draw accuracy by severity, a panel per corruption; severity 0 is the unchanged face."""
    reference = reference_for(robustness)
    count = len(robustness.corrupted)
    figure = blank(10.5, 2.1 * -(-count // 5))
    shown: list[tuple[Robustness, str, str, str]] = [(robustness, BLUE, "-", robustness.name)]
    if reference is not None and reference.weights != robustness.weights:
        shown.append((reference, MUTED, ":", REFERENCE))
    first = None
    for place, name in enumerate(robustness.corrupted, start=1):
        axes = figure.add_subplot(-(-count // 5), min(5, count), place, sharex=first, sharey=first)
        first = first or axes
        style(axes)
        for item, colour, line, label in shown:
            heights = [item.clean.accuracy, *(one.accuracy for one in item.corrupted[name])]
            axes.plot(
                range(len(heights)), heights, color=colour, linestyle=line, linewidth=2, label=label
            )
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        axes.set_xticks((0, *SEVERITIES))
        in_percent(axes.yaxis)
        axes.label_outer()
    if first is not None:
        top = max(item.clean.accuracy for item, *_ in shown)
        first.set_ylim(0, min(1.0, top + 0.1))
        if len(shown) > 1:
            handles = first.get_legend_handles_labels()
            legend(figure, handles=handles[0], loc="outside lower center", ncols=2)
    return figure


def _summary(robustness: Robustness) -> list[tuple[str, str]]:
    reference = reference_for(robustness)
    said = [
        ("clean accuracy", percent(robustness.clean.accuracy, 2)),
        (f"lost at severity {MIDDLE}", percent(robustness.mean_relative_loss, 1)),
        ("clean ECE", percent(robustness.clean.calibration_error, 1)),
        ("corrupted ECE", percent(robustness.mean_calibration_error, 1)),
    ]
    if reference is not None:
        said.append(("mCE", percent(robustness.mean_corruption_error(reference), 1)))
    if robustness.clean.sure is not None and robustness.clean.sure_accuracy is not None:
        said.append(("sure", percent(robustness.clean.sure, 1)))
        said.append(("right if sure", percent(robustness.clean.sure_accuracy, 1)))
    return said


def _table(robustness: Robustness) -> Table:
    reference = reference_for(robustness)
    rows = [
        [
            name,
            *(percent(item.accuracy, 1) for item in items),
            percent(robustness.relative_loss(name), 1),
            percent(float(np.mean([item.calibration_error for item in items])), 1),
            percent(robustness.corruption_error(name, reference), 0) if reference else "-",
        ]
        for name, items in robustness.corrupted.items()
    ]
    return Table(
        ["corruption", *_SEVERITIES, f"lost at {MIDDLE}", "ECE", "CE"],
        rows,
        title=f"{robustness.name}, {robustness.split}: {robustness.faces:,} corrupted faces, "
        f"judged by {JUDGES[robustness.judge]}",
        caption="; ".join(f"{what} {value}" for what, value in _summary(robustness)),
    )


def _sure_table(robustness: Robustness) -> Table:
    """Tabulate the sure answers by corruption; no row if the network has no threshold of `uncertain`."""
    rows: list[list[str]] = []
    if robustness.clean.sure is not None:
        rows = [[name, *map(_sure, items)] for name, items in robustness.corrupted.items()]
        rows.insert(0, ["none", _sure(robustness.clean), *("",) * (len(SEVERITIES) - 1)])
    title = "Sure answers: their share of all, and how many of them are right"
    return Table(["corruption", *_SEVERITIES], rows, title=title)


def _sure(item: Figures) -> str:
    right = "-" if item.sure_accuracy is None else percent(item.sure_accuracy, 0)
    return f"{percent(item.sure or 0, 0)}, {right}"
