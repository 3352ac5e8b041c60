"""The figures of a sweep, in the style of the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.colours import BLUE, ORANGE
from mien.evaluation.text import percent
from mien.pages import plots
from mien.pages.plots import INK, LINE, MUTED
from mien.pages.png import PAPER
from mien.studies.sweep_space import Choice, Dimension

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mien.studies.sweep_result import Sweep, Tried


def parallel(found: Sweep) -> Figure:
    """Draw parallel coordinates: a line per trial through its settings to its accuracy, the best in orange."""
    shown = [trial for trial in found.trials if trial.accuracy is not None]
    dimensions = list(found.space)
    figure, axes = plots.canvas(max(9.6, 1.9 * (len(dimensions) + 1)), 4.8)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    accuracies = np.array([trial.accuracy for trial in shown])
    low, high = accuracies.min(), accuracies.max()
    spread = (high - low) or 1.0
    ranks = accuracies.argsort().argsort() / max(1, len(shown) - 1)
    best = found.best
    for trial, accuracy, rank in sorted(
        zip(shown, accuracies, ranks, strict=True), key=lambda item: float(item[2])
    ):
        heights = [*(_height(one, trial) for one in dimensions), (accuracy - low) / spread]
        is_best = best is not None and trial.number == best.number
        pruned = trial.state != "complete"
        axes.plot(
            range(len(heights)),
            heights,
            color=ORANGE if is_best else MUTED if pruned else BLUE,
            linewidth=2.8 if is_best else 1.2,
            linestyle=(0, (4, 3)) if pruned else "-",
            alpha=1.0 if is_best else 0.15 + 0.65 * float(rank),
            zorder=3 if is_best else 2,
        )
    ends = [*(_ticks(one) for one in dimensions), [(0.0, f"{low:.1%}"), (1.0, f"{high:.1%}")]]
    for place, ticks in enumerate(ends):
        axes.axvline(place, color=LINE, linewidth=1.5, zorder=1)
        for height, text in ticks:
            axes.annotate(
                plots.short(text),
                (place, height),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
                color=INK,
                zorder=4,
                bbox={
                    "boxstyle": "round,pad=0.15",
                    "facecolor": PAPER,
                    "linewidth": 0,
                    "alpha": 0.85,
                },
                parse_math=False,
            )
    names = [*(one.name for one in dimensions), "validation accuracy"]
    axes.set_xticks(range(len(names)), [_broken(name) for name in names], parse_math=False)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(names) - 1 + 0.45)
    axes.set_ylim(-0.06, 1.06)
    plots.title(axes, "Settings and accuracy of each trial; the best in orange, pruned ones dashed")
    return figure


def history(found: Sweep) -> Figure:
    """Draw the accuracy of each trial in the order in which they began, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = plots.canvas()
    complete = found.complete
    others = [t for t in found.trials if t.state != "complete" and t.accuracy is not None]
    if others:
        axes.plot(
            [trial.number for trial in others],
            [trial.accuracy or 0 for trial in others],
            "x",
            color=MUTED,
            label="pruned",
        )
    if complete:
        numbers = [trial.number for trial in complete]
        values = [trial.accuracy or 0 for trial in complete]
        axes.plot(numbers, values, "o", color=BLUE, label="complete")
        axes.step(
            numbers,
            np.maximum.accumulate(values),
            where="post",
            color=ORANGE,
            linewidth=2.2,
            label="best so far",
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))
    axes.set_xlabel("trial")
    axes.set_ylabel("validation accuracy")
    plots.title(axes, "Validation accuracy of each trial")
    plots.legend(axes)
    return figure


def importance(found: Sweep) -> Figure:
    """Draw the share of the variance of accuracy that each setting explains."""
    items = list(found.importance.items())[::-1]
    figure, axes = plots.canvas(6.8, 1.4 + 0.45 * len(items))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.barh(range(len(items)), [share for _, share in items], 0.6, color=BLUE)
    axes.set_yticks(range(len(items)), [name for name, _ in items], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    plots.in_percent(axes.xaxis)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of the variance between {len(found.complete)} complete trials (fANOVA)")
    plots.title(axes, "Importance of each field")
    return figure


def _height(dimension: Dimension, trial: Tried) -> float:
    """Position of a trial's value on the axis of a setting, 0..1."""
    value: Any = trial.settings.get(dimension.name)
    values = dimension.values
    if isinstance(values, Choice):
        return values.examples.index(value) / max(1, len(values.examples) - 1)
    low, high = float(values.low), float(values.high)
    if values.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (float(value) - low) / (high - low)


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    values = dimension.values
    last = max(1, len(values.examples) - 1)
    return [(place / last, text) for place, text in enumerate(values.examples)]


def _broken(name: str) -> str:
    """Break the name of a field into two lines, after its group if it has one."""
    group, dot, field = name.rpartition(".")
    return f"{group}.\n{field}" if dot else name.replace(" ", "\n")
