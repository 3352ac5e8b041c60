"""corruptions-<split>.html and the table in the terminal: what corruptions cost, beside the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType

from mien.colours import BLUE
from mien.evaluation.confidence import JUDGES
from mien.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from mien.evaluation.pages import draw, write_page
from mien.evaluation.plots import INK, MUTED, blank, in_percent, legend, style
from mien.evaluation.robustness import MIDDLE, REFERENCE, Figures, Robustness, reference_for
from mien.evaluation.text import percent
from mien.terminal import table

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

_HEAD = ("corruption", *map(str, SEVERITIES), f"lost at {MIDDLE}", "ECE", "CE")
EXPLANATION = (
    f"Accuracy by severity, 1 to 5. Lost: the share of the clean accuracy that is gone at severity {MIDDLE}. ECE: "
    "expected calibration error, mean over severities. CE: errors over all severities, as a share of those of "
    f"{REFERENCE} on the same faces; their mean is mCE (Hendrycks & Dietterich 2019)."
)


_SURE_HEAD = ("corruption", *map(str, SEVERITIES))


def write_robustness_page(robustness: Robustness, folder: Path) -> Path:
    """Write the page and its figure into a folder; the path of the page."""
    name = robustness.file_name
    return write_page(
        folder / f"{name}.html",
        "corruptions.html.j2",
        title=f"{robustness.name}: corrupted faces",
        subtitle=f"{robustness.faces:,} faces of the {robustness.split} split of {robustness.source}, "
        f"single view, judged by {JUDGES[robustness.judge]}",
        tiles=[{"name": what, "value": value} for what, value in _summary(robustness)],
        curves=draw(curves(robustness), folder, name, "Accuracy by severity of each corruption"),
        explanation=EXPLANATION,
        head=_HEAD,
        rows=_rows(robustness),
        sure=_sure_rows(robustness),
        sure_head=_SURE_HEAD,
        kinds=[(item.name, item.unit, *(f"{x:g}" for x in item.amounts)) for item in CORRUPTIONS],
        command=robustness.command,
    )


def render_robustness(robustness: Robustness) -> RenderableType:
    """The figures for the terminal."""
    rows = table(
        *_HEAD,
        title=f"{robustness.name}, {robustness.split}: {robustness.faces:,} corrupted faces, "
        f"judged by {JUDGES[robustness.judge]}",
    )
    for row in _rows(robustness):
        rows.add_row(*row)
    rows.caption_justify = "left"
    rows.caption = "; ".join(f"{what} {value}" for what, value in _summary(robustness))
    if robustness.clean.sure is None:
        return rows
    sure = table(
        *_SURE_HEAD, title="Sure answers: their share of all, and how many of them are right"
    )
    for row in _sure_rows(robustness):
        sure.add_row(*row)
    return Group(rows, sure)


def curves(robustness: Robustness) -> Figure:
    """Accuracy by severity, a panel a corruption, severity 0 being the face as it is."""
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


def _rows(robustness: Robustness) -> list[list[str]]:
    reference = reference_for(robustness)
    return [
        [
            name,
            *(percent(item.accuracy, 1) for item in items),
            percent(robustness.relative_loss(name), 1),
            percent(float(np.mean([item.calibration_error for item in items])), 1),
            percent(robustness.corruption_error(name, reference), 0) if reference else "-",
        ]
        for name, items in robustness.corrupted.items()
    ]


def _sure_rows(robustness: Robustness) -> list[list[str]]:
    """A line for each corruption, none if the network has no threshold of `uncertain`."""
    if robustness.clean.sure is None:
        return []
    return [
        ["none", _sure(robustness.clean), *("",) * (len(SEVERITIES) - 1)],
        *([name, *map(_sure, items)] for name, items in robustness.corrupted.items()),
    ]


def _sure(item: Figures) -> str:
    right = "-" if item.sure_accuracy is None else percent(item.sure_accuracy, 0)
    return f"{percent(item.sure or 0, 0)}, {right}"
