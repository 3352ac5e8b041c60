"""The figures of a diagnosis, in the style of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.colours import BLUE, GREEN, ORANGE
from mien.errors import quantity
from mien.evaluation.text import percent
from mien.pages import plots
from mien.studies.plan import Diagnosis
from mien.studies.trials import Outcome
from mien.studies.verdicts import LabelNoise, learning_curve, points

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def overview(diagnosis: Diagnosis) -> Figure:
    """Draw each trial's accuracy on training and validation faces, and the gap between them."""
    outcomes = [
        *diagnosis.of("baseline"),
        *diagnosis.of("regularisation"),
        *diagnosis.of("capacity"),
        *diagnosis.of("labels"),
    ]
    figure, axes = plots.canvas(9.6, 1.5 + 0.42 * len(outcomes))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=plots.LINE, linewidth=0.8)
    places = np.arange(len(outcomes))[::-1]
    train = np.array([item.train_accuracy for item in outcomes])
    validation = np.array([item.validation_accuracy for item in outcomes])
    axes.hlines(places, validation, train, color=plots.LINE, linewidth=5, capstyle="round")
    axes.plot(train, places, "o", color=BLUE, markersize=8, label="training faces")
    axes.plot(validation, places, "o", color=ORANGE, markersize=8, label="validation faces")
    dashes = (0, (4, 3))
    axes.axvline(
        validation[0], color=ORANGE, linewidth=1, linestyle=dashes, zorder=0, label="as it is"
    )
    for place, item in zip(places, outcomes, strict=True):
        axes.annotate(
            points(item.gap),
            (max(item.train_accuracy, item.validation_accuracy), place),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            color=plots.MUTED,
            fontsize=9.5,
        )
    axes.set_yticks(places, [item.trial.label for item in outcomes], parse_math=False)
    axes.tick_params(axis="y", labelsize=10.5, labelcolor=plots.INK)
    axes.set_ylim(-0.7, len(outcomes) - 0.3)
    axes.set_xlim(right=min(1.12, 1.14 * max(train.max(), validation.max())))
    plots.in_percent(axes.xaxis)
    axes.set_xlabel("accuracy of the kept weights, without augmentation and dropout")
    plots.title(axes, "The overfitting gap of each trial")
    plots.legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.9 / len(outcomes)), ncols=3)
    return figure


def learning(diagnosis: Diagnosis) -> Figure:
    """Draw the accuracy on training and validation faces over the number of training faces."""
    curve = learning_curve(diagnosis)
    figure, axes = plots.canvas()
    sizes = [count for count, _ in curve]
    train = [item.train_accuracy for _, item in curve]
    validation = [item.validation_accuracy for _, item in curve]
    axes.fill_between(
        sizes, train, validation, color=ORANGE, alpha=0.13, linewidth=0, label="gap between the two"
    )
    for values, colour, label in (
        (train, BLUE, "training faces"),
        (validation, ORANGE, "validation faces"),
    ):
        axes.plot(sizes, values, "o-", color=colour, linewidth=2.2, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{count:,}" for count in sizes], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("training faces (logarithmic)")
    axes.set_ylabel("accuracy")
    plots.in_percent(axes.yaxis)
    plots.title(
        axes,
        f"Validation: {percent(validation[0])} on {quantity(sizes[0], 'face')}, "
        f"{percent(validation[-1])} on {sizes[-1]:,}",
    )
    plots.legend(axes)
    return figure


def memorising(real: Outcome, shuffled: Outcome) -> Figure:
    """Draw the training accuracy by epoch on the real labels and on permuted labels."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = plots.canvas()
    for outcome, colour, label in (
        (real, BLUE, "real labels"),
        (shuffled, GREEN, "labels dealt at random"),
    ):
        history = outcome.run.history()
        axes.plot(
            [row["epoch"] for row in history],
            [row["train_accuracy"] for row in history],
            "o-" if len(history) == 1 else "-",
            color=colour,
            linewidth=2.2,
            label=label,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel("training accuracy, as it trains")
    axes.set_ylim(bottom=0)
    plots.in_percent(axes.yaxis)
    last = shuffled.run.history()[-1]["train_accuracy"]
    plots.title(axes, f"Labels dealt at random: {percent(last)} training accuracy in the end")
    plots.legend(axes)
    return figure


def rejected(noise: LabelNoise) -> Figure:
    """Draw the accuracy on faces with an accepted label and on faces with a label that annotators reject."""
    figure, axes = plots.canvas()
    places = np.arange(2)
    sides: Sequence[tuple[tuple[float, float], str, str, float]] = (
        (noise.train, BLUE, "training faces", -0.19),
        (noise.validation, ORANGE, "validation faces", 0.19),
    )
    for (of_rejected, of_accepted), colour, label, shift in sides:
        values = (of_accepted, of_rejected)
        axes.bar(places + shift, values, 0.34, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                percent(value),
                (place + shift, value),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                color=plots.INK,
                fontsize=10,
            )
    axes.set_xticks(
        places,
        [
            f"label accepted\n{percent(1 - noise.share)} of training",
            f"label rejected\n{percent(noise.share)} of training",
        ],
    )
    axes.set_ylim(0, 1.08)
    plots.in_percent(axes.yaxis)
    axes.set_ylabel("answers that repeat the label")
    plots.title(axes, f"Rejected labels make up {percent(noise.part, 0)} of the gap")
    plots.legend(axes, loc="upper right")
    return figure
