"""Figures of several runs, in the style of `plots`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mien.colours import BLUE, CYCLE, ORANGE
from mien.pages import plots
from mien.pages.plots import INK, MUTED, History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Number of panels side by side.
_COLUMNS = 4
#: Line styles: the first for the first round through the colours, and so on.
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)))


def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw accuracy and loss by epoch, side by side."""
    figure = plots.blank(13, 4.4)
    left, right = figure.subplots(1, 2)
    plots.accuracy_curves(history, left)
    plots.loss_curves(history, right)
    return figure


def panels(
    histories: Mapping[str, Sequence[History]], published: Mapping[str, float] | None = None
) -> Figure:
    """Draw training and validation accuracy by epoch: a panel per name, a line per seed, one scale for all.

    Args:
        histories: name -> the histories of its seeds, each of at least one epoch.
        published: name -> published validation accuracy, 0..1, drawn as a horizontal line.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    published = published or {}
    columns = min(_COLUMNS, len(histories))
    rows = math.ceil(len(histories) / columns)
    figure = plots.blank(max(3.0 * columns, 6.8), 2.7 * rows + 0.4)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(histories) :]:
        axes.set_visible(False)
    for axes, (name, seeds) in zip(grid.flat, histories.items(), strict=False):
        plots.style(axes)
        for history in seeds:
            epochs = [row["epoch"] for row in history]
            for figure_name, colour in (("train", BLUE), ("validation", ORANGE)):
                axes.plot(
                    epochs,
                    [row[f"{figure_name}_accuracy"] for row in history],
                    color=colour,
                    linewidth=2 if len(seeds) == 1 else 1.3,
                    marker="o" if len(epochs) == 1 else None,
                )
        if name in published:
            axes.axhline(published[name], color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
        plots.in_percent(axes.yaxis)
        plots.title(axes, plots.short(name, 2 * plots.LONGEST_NAME))
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy")
    for place in range(columns):
        lowest = max(row for row in range(rows) if row * columns + place < len(histories))
        grid[lowest, place].set_xlabel("epoch")
    lines = [
        Line2D([], [], color=BLUE, linewidth=2, label="training"),
        Line2D([], [], color=ORANGE, linewidth=2, label="validation"),
        *(
            [Line2D([], [], color=MUTED, linestyle=(0, (4, 3)), label="published validation")]
            if published
            else []
        ),
    ]
    plots.legend(figure, handles=lines, loc="outside upper right", ncols=len(lines))
    return figure


def gaps(histories: Mapping[str, Sequence[History]]) -> Figure:
    """Draw the overfitting gap, training minus validation accuracy, by epoch: the mean over seeds, and each seed.

    Epochs are on a logarithmic scale, because some recipes train for ten and some for sixty. The legend has
    the last gap of each mean, the widest first.

    Args:
        histories: name -> the histories of its seeds, each of at least one epoch.
    """
    figure, axes = plots.canvas(10, 4.8)
    lines = []
    for place, (name, seeds) in enumerate(histories.items()):
        colour = CYCLE[place % len(CYCLE)]
        for history in seeds if len(seeds) > 1 else ():
            epochs, values = zip(*((row["epoch"], row["gap"]) for row in history), strict=True)
            axes.plot(epochs, values, color=colour, linewidth=0.8, alpha=0.45)
        shared = list(zip(*seeds, strict=False))  # epochs that every seed has
        means = [sum(row["gap"] for row in rows) / len(rows) for rows in shared]
        (line,) = axes.plot(
            [rows[0]["epoch"] for rows in shared],
            means,
            color=colour,
            linestyle=_DASHES[place // len(CYCLE) % len(_DASHES)],
            linewidth=2.2,
            marker="o" if len(means) == 1 else None,
            label=f"{plots.short(name, 2 * plots.LONGEST_NAME)}  {100 * means[-1]:+.1f}",
        )
        lines.append((means[-1], line))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
    longest = max(history[-1]["epoch"] for seeds in histories.values() for history in seeds)
    ticks = [epoch for epoch in (1, 2, 3, 5, 10, 15, 20, 30, 40, 60, 100, 200) if epoch <= longest]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(epoch) for epoch in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("points")
    plots.title(axes, "Training minus validation accuracy by epoch")
    widest_first = [line for _, line in sorted(lines, key=lambda pair: -pair[0])]
    plots.legend(figure, handles=widest_first, loc="outside right upper")
    return figure
