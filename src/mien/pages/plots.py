"""The figures of a report, in one style. Each function returns a matplotlib Figure of its own.

Colours are Okabe and Ito's, which colour-blind people can tell apart. No pyplot, no global state.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.colours import BLUE, CYCLE, GREEN, ORANGE
from mien.errors import extra_required, quantity
from mien.evaluation.metrics import Scores
from mien.evaluation.text import percent
from mien.expressions import Expressions
from mien.files import atomic_file
from mien.pages.png import PAPER, any_script, write_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#1b1f24", "#667080", "#d8dde4"
#: Colour in a figure -> CSS variable in the report, so that inline figures follow the theme.
THEME = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--paper",
    **{colour: f"--series-{place}" for place, colour in enumerate(CYCLE, start=1)},
}

#: Longest name in a figure, in letters; longer ones are shortened.
LONGEST_NAME = 18

History = Sequence[Mapping[str, float]]


def accuracy_curves(history: History, axes: Axes | None = None) -> Figure:
    """Draw training and validation accuracy by epoch, with the overfitting gap shaded between them."""
    figure, axes = canvas(axes=axes)
    epochs, train, validation = _both(axes, history, "accuracy")
    best = int(np.argmax(validation))
    _dot(axes, epochs[best], validation[best], "best epoch")
    last_gap = train[-1] - validation[-1]
    wide = abs(last_gap) > 0.15 * np.ptp([train, validation])
    axes.annotate(  # inside the gap if it is wide; else in the corner that rising curves leave free
        f"gap {100 * last_gap:.1f} points",
        (epochs[-1], (train[-1] + validation[-1]) / 2) if wide else (1, 0),
        xycoords="data" if wide else "axes fraction",
        xytext=(-8, 0 if wide else 8),
        textcoords="offset points",
        ha="right",
        va="center" if wide else "bottom",
        color=INK,
        fontsize=10,
    )
    title(
        axes,
        f"Validation accuracy is highest, {percent(validation[best])}, in epoch {epochs[best]:.0f}",
    )
    in_percent(axes.yaxis)
    _finish_curves(axes, epochs, "accuracy")
    return figure


def loss_curves(history: History, axes: Axes | None = None) -> Figure:
    """Draw training and validation cross-entropy by epoch."""
    figure, axes = canvas(axes=axes)
    epochs, _, validation = _both(axes, history, "loss")
    best = int(np.argmin(validation))
    _dot(axes, epochs[best], validation[best], "lowest loss")
    title(axes, f"Validation loss is lowest, {validation[best]:.3f}, in epoch {epochs[best]:.0f}")
    _finish_curves(axes, epochs, "cross-entropy (nats)")
    return figure


def confusion(counts_KK: ArrayLike, expressions: Expressions, what: str) -> Figure:
    """Draw the confusion matrix: counts on the left, shares of each true expression on the right.

    Args:
        counts_KK: counts (K, K), true expressions in rows.
        expressions: the K names.
        what: the subject of the titles, such as the split.
    """
    counts = np.array(counts_KK)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = max(5.2, 1.6 + 0.62 * len(expressions))  # inches that the titles need
    figure = blank(2 * side, side + 0.5)  # room for a line above the square cells
    for place, cells in enumerate(
        (
            [[f"{n:,}" for n in row] for row in counts],
            [[f"{100 * s:.0f}" for s in r] for r in shares],
        )
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        _matrix(axes, shares, cells, expressions)
        title(axes, f"{what}: " + ("number of faces", "percent of each true expression")[place])
        if place == 0:
            axes.set_ylabel("true")
    return figure


def class_bars(scores: Scores, expressions: Expressions, what: str) -> Figure:
    """Draw precision, recall and F1 of each expression, in decreasing order of F1; `what` begins the title."""
    order = sorted(
        range(len(expressions)), key=lambda label: scores.per_class[label].f1 or 0, reverse=True
    )
    figure, axes = canvas()
    places = np.arange(len(order))
    for shift, (name, colour) in enumerate(
        (("precision", BLUE), ("recall", ORANGE), ("f1", GREEN)), start=-1
    ):
        heights = [getattr(scores.per_class[label], name) or 0 for label in order]
        label = "F1" if name == "f1" else name
        axes.bar(places + 0.26 * shift, heights, 0.24, color=colour, label=label)
    axes.set_xticks(
        places,
        [
            f"{short(expressions[label])}\n{quantity(scores.per_class[label].support, 'face')}"
            for label in order
        ],
        parse_math=False,
    )
    axes.set_ylim(0, 1.16)  # room for the legend above the highest bar
    axes.set_yticks(np.linspace(0, 1, 6))
    in_percent(axes.yaxis)
    axes.tick_params(axis="x", length=0)
    title(axes, f"{what}: precision, recall and F1 of each expression")
    legend(axes, loc="upper right", ncols=3)
    return figure


def reliability(scores: Scores, what: str) -> Figure:
    """Draw accuracy by confidence in bins, their distance, and the counts of the bins; `what` begins the title."""
    figure = blank(6.2, 6.0)
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 1), hspace=0.08)
    axes = figure.add_subplot(grid[0])
    distances = reliability_bars(axes, scores)
    axes.set_ylabel("accuracy")
    counts = [item.count for item in scores.bins if item.count]
    excess = float(np.average(distances, weights=counts))
    title(
        axes,
        f"{what}: {'over' if excess > 0 else 'under'}confident by {100 * abs(excess):.1f} points, "
        f"ECE {percent(scores.calibration_error)}",
    )
    legend(axes)
    below = figure.add_subplot(grid[1], sharex=axes)
    below.bar(_centres(scores), counts, _width(scores), color=MUTED)
    below.set_xlim(0, 1)
    below.set_ylabel("faces")
    below.set_xlabel("confidence (largest probability)")
    for part in (axes, below):
        style(part)
    axes.tick_params(labelbottom=False)
    return figure


def reliability_bars(axes: Axes, scores: Scores) -> NDArray[np.float64]:
    """Draw the accuracy of each bin that has faces, and its distance to the confidence.

    Returns:
        Confidence minus accuracy of these bins, -1..1.
    """
    filled = [item for item in scores.bins if item.count]
    accuracies = np.array([item.accuracy for item in filled], dtype=float)
    confidences = np.array([item.confidence for item in filled], dtype=float)
    distances: NDArray[np.float64] = confidences - accuracies
    centres, width = _centres(scores), _width(scores)
    axes.bar(centres, accuracies, width, color=BLUE, label="accuracy")
    axes.bar(
        centres,
        distances,
        width,
        bottom=accuracies,
        facecolor="none",  # an outline: over a bar, a translucent colour would be one that the legend lacks
        edgecolor=ORANGE,
        linewidth=1.5,
        label="distance to confidence",
    )
    dashes = (0, (4, 3))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=dashes, label="as sure as right")
    axes.set_ylim(0, 1)
    return distances


def _centres(scores: Scores) -> list[float]:
    """Centres of the bins that have faces."""
    return [(item.low + item.high) / 2 for item in scores.bins if item.count]


def _width(scores: Scores) -> float:
    return 0.9 * (scores.bins[0].high - scores.bins[0].low)


def overlay(histories: Mapping[str, Sequence[History]]) -> Figure:
    """Draw validation and training accuracy of several runs, a colour per run and a line per seed."""
    figure, axes = canvas()
    longest: Any = np.zeros(1)
    for place, (name, seeds) in enumerate(histories.items()):
        colour = CYCLE[place % len(CYCLE)]
        dashes = "-" if place < len(CYCLE) else (0, (5, 1))
        for seed, history in enumerate(seeds):
            epochs, train, validation = _columns(history, "accuracy")
            longest = max(longest, epochs, key=len)
            label = short(name, 2 * LONGEST_NAME) if seed == 0 else None
            dot = _dot_of_one(epochs)
            axes.plot(
                epochs,
                validation,
                color=colour,
                linewidth=2,
                linestyle=dashes,
                marker=dot,
                label=label,
            )
            axes.plot(
                epochs,
                train,
                color=colour,
                linewidth=1.2,
                linestyle=(0, (1, 1.6)),
                marker=dot,
                markersize=3,
            )
    title(axes, "Accuracy of each run: validation solid, training dotted")
    in_percent(axes.yaxis)
    _finish_curves(axes, longest, "accuracy")
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically. Later drawings of the figure keep the layout of this one."""
    with atomic_file(path) as handle:
        write_png(figure, handle)
    figure.set_layout_engine("none")


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """Draw the figure as an image, uint8 RGB (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    with any_script():
        canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3]


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Convert the figure to an <svg> element for an HTML page, with the colours of the page's CSS variables.

    Args:
        figure: the figure.
        name: a prefix for its ids, unique on the page.
        description: text for screen readers.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with extra_required("report", "drawing"):
        import matplotlib
    buffer = io.StringIO()
    blank = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # Text stays text in the page's font, so that it can be searched, read aloud and in any script.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}), any_script():
        figure.savefig(buffer, format="svg", transparent=True, metadata=blank)
    svg = re.sub(r"<!--.*?-->|<(metadata|style).*?</\1>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    # HTML ignores namespaces, and ids have to be unique on the page.
    svg = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"^<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 role="img">', svg)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    for colour, variable in THEME.items():
        svg = svg.replace(colour, f"var({variable})")
    head, rest = svg.split(">", 1)
    return f"{head}><title>{escape(description)}</title>{rest}"


def blank(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches; notebooks display it as the last line of a cell.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with extra_required("report", "drawing"):
        from mien.pages.figure import ShownFigure
    return ShownFigure(figsize=(width, height), layout="constrained")


def canvas(
    width: float = 6.8, height: float = 4.2, *, axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Style the given axes, or those of a new figure of a size in inches; return figure and axes."""
    if axes is None:
        axes = blank(width, height).add_subplot()
    figure: Any = axes.figure
    style(axes)
    return figure, axes


def style(axes: Axes) -> None:
    """Style axes: one spine, thin horizontal lines."""
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(colors=MUTED, labelsize=10, length=0, pad=6)
    axes.xaxis.label.set(color=MUTED, fontsize=10.5)
    axes.yaxis.label.set(color=MUTED, fontsize=10.5)


def in_percent(*axes: Axis) -> None:
    """Format the numbers of axes, 0..1, as percents, with the digits that they need (2.5 %)."""
    for axis in axes:
        axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def title(axes: Axes, text: str) -> None:
    """Set a bold title on the left, without mathematical markup."""
    axes.set_title(
        text, loc="left", color=INK, fontsize=11.5, fontweight="bold", pad=10, parse_math=False
    )


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """Shorten a name to at most `longest` letters."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _both(axes: Axes, history: History, figure: str) -> tuple[Any, Any, Any]:
    """Draw the training and the validation curve and shade the gap between them; return their `_columns`."""
    epochs, train, validation = _columns(history, figure)
    axes.fill_between(
        epochs,
        train,
        validation,
        color=ORANGE,
        alpha=0.13,
        linewidth=0,
        label="gap between the two",
    )
    _line(axes, epochs, train, BLUE, "training")
    _line(axes, epochs, validation, ORANGE, "validation")
    return epochs, train, validation


def _columns(history: History, figure: str) -> tuple[Any, Any, Any]:
    names = ("epoch", f"train_{figure}", f"validation_{figure}")
    epochs, train, validation = (np.array([row[name] for row in history]) for name in names)
    return epochs, train, validation


def _line(axes: Axes, x: Any, y: Any, colour: str, label: str) -> None:
    axes.plot(
        x,
        y,
        color=colour,
        linewidth=2.2,
        marker=_dot_of_one(x),
        label=label,
        solid_capstyle="round",
    )


def _dot_of_one(x: Any) -> str | None:
    """The marker of a curve: a dot if it has one point only, since a line of it cannot be seen."""
    return "o" if len(x) == 1 else None


def _dot(axes: Axes, x: float, y: float, label: str) -> None:
    axes.plot(x, y, "o", color=ORANGE, markersize=7, label=label)


def _finish_curves(axes: Axes, epochs: Any, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    if len(epochs) == 1:  # a line through one point is invisible
        for line in axes.lines:
            line.set_marker("o")
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
    else:
        axes.margins(x=0.02)
    legend(axes)


def legend(of: Axes | Figure, **place: Any) -> None:
    """Add a legend without a frame to axes or to a whole figure."""
    drawn = of.legend(frameon=False, fontsize=10, labelcolor=INK, **place)
    for text in drawn.get_texts():
        text.set_parse_math(False)


def _matrix(axes: Axes, shares: Any, cells: list[list[str]], expressions: Expressions) -> None:
    """Draw cells whose blue deepens with the share, as shapes, so that they follow the theme."""
    from matplotlib.patches import Rectangle

    size = len(expressions)
    for row in range(size):
        for column in range(size):
            share = float(shares[row, column])
            cell = Rectangle(
                (column + 0.03, row + 0.03), 0.94, 0.94, facecolor=BLUE, alpha=0.04 + 0.96 * share
            )
            axes.add_patch(cell)
            axes.text(
                column + 0.5,
                row + 0.5,
                cells[row][column],
                ha="center",
                va="center",
                fontsize=11,
                color=PAPER if share > 0.5 else INK,
                fontweight="bold" if row == column else "normal",
            )
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xlabel="predicted")
    names = [short(name) for name in expressions]
    axes.set_xticks(np.arange(size) + 0.5, names, rotation=35, ha="right", parse_math=False)
    axes.set_yticks(np.arange(size) + 0.5, names, parse_math=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=MUTED, labelsize=10.5, length=0)
    axes.xaxis.label.set(color=MUTED, fontsize=10.5)
    axes.yaxis.label.set(color=MUTED, fontsize=10.5)
