"""Figures of confidence: reliability before and after calibration, and risk by coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.colours import BLUE, ORANGE
from mien.evaluation.confidence import Confidence
from mien.evaluation.metrics import Scores
from mien.evaluation.text import percent
from mien.pages import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def before_and_after(found: Confidence) -> Figure:
    """Draw two reliability diagrams side by side: of the trained network, and of the calibrated one."""
    figure = plots.blank(9.6, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    _reliability(left, found.before, "As it was trained")
    _reliability(
        right,
        found.after,
        f"With temperature {found.calibration.temperature:.2f}"
        + (" and offsets" if found.calibration.offsets else ""),
    )
    left.set_ylabel("accuracy")
    plots.legend(left)
    return figure


def risk_coverage(found: Confidence) -> Figure:
    """Draw the share of wrong answers by the share of faces answered, and the threshold of `uncertain`."""
    figure, axes = plots.canvas(6.8, 4.4)
    curve = found.curve
    # The share of fewer answers is too noisy to draw; but half of the curve is drawn, however few the faces.
    few = min(20 / found.after.count, 0.5)
    from_here = np.searchsorted(curve.coverage, few)
    axes.plot(
        curve.coverage[from_here:],
        curve.risk[from_here:],
        color=BLUE,
        linewidth=2.2,
        label="wrong among the answers given",
    )
    coverage, risk = found.answered
    if risk is not None:
        axes.plot(coverage, risk, "o", color=ORANGE, markersize=8, label="the rest is uncertain")
        axes.annotate(
            f"{percent(coverage, 0)} answered, {percent(risk)} of these wrong",
            (coverage, risk),
            xytext=(-10 if coverage > 0.5 else 10, 10),  # towards the middle: there is room
            textcoords="offset points",
            ha="right" if coverage > 0.5 else "left",
            color=plots.INK,
            fontsize=10,
        )
    plots.title(
        axes, f"{found.shown.capitalize()}: wrong answers by faces answered (AURC {curve.area:.3f})"
    )
    axes.set(xlim=(0, 1.01), ylim=(0, None))
    axes.set_xlabel("faces answered, the most confident first")
    axes.set_ylabel("wrong answers")
    plots.in_percent(axes.xaxis, axes.yaxis)
    plots.legend(axes, loc="best")
    return figure


def _reliability(axes: Axes, scores: Scores, what: str) -> None:
    plots.style(axes)
    plots.reliability_bars(axes, scores)
    axes.set(xlim=(0, 1), xlabel="confidence (largest probability)")
    plots.title(axes, f"{what}: ECE {percent(scores.calibration_error)}")
