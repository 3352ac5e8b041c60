"""A figure of faces and their predicted probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.colours import BLUE, ORANGE
from mien.errors import InputError, quantity
from mien.evaluation.text import percent
from mien.expressions import Expressions
from mien.pages import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_COLUMNS = 3
#: Longer names would run into the next face's title.
_TITLE_NAME = 8
#: Largest number of faces; more would take long to draw and be hard to read.
MOST_FACES = 60


def draw_predictions(
    faces_NCHW: NDArray[np.uint8],
    probabilities_NK: NDArray[np.floating],
    expressions: Expressions,
    labels_N: NDArray[np.int64] | None = None,
) -> Figure:
    """Draw each face with a bar per expression; the answer is blue, or orange if the label differs.

    Args:
        faces_NCHW: uint8 (N, C, H, W), C = 1 (gray) or 3 (RGB), N = 1 to MOST_FACES.
        probabilities_NK: (N, K), 0 to 1, such as the answers of a `mien.models.Classifier`.
        expressions: the K names.
        labels_N: int64 (N,), the labels; None if they are unknown.

    Raises:
        InputError: there is no face or too many, or the shapes do not match.
    """
    count = len(faces_NCHW)
    if not 1 <= count <= MOST_FACES:
        raise InputError(f"{quantity(count, 'face')} to draw: give 1 to {MOST_FACES} of them")
    if probabilities_NK.shape != (count, len(expressions)):
        raise InputError(
            f"{quantity(count, 'face')} of {len(expressions)} expressions: the probabilities have to be of shape "
            f"{(count, len(expressions))}, not {probabilities_NK.shape}"
        )
    if labels_N is not None and len(labels_N) != count:
        raise InputError(
            f"{quantity(len(labels_N), 'label')} for {quantity(count, 'face')}: give one for each"
        )
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    height = 0.5 + 0.18 * max(len(expressions), 6)
    figure = plots.blank(3.1 * columns, height * rows)
    cards = figure.subfigures(rows, columns, squeeze=False).ravel()[:count]
    for place, card in enumerate(cards):
        label = None if labels_N is None else int(labels_N[place])
        _card(card, faces_NCHW[place], probabilities_NK[place], expressions, label)
    return figure


def _card(
    card: SubFigure,
    face_CHW: NDArray[np.uint8],
    probabilities_K: NDArray[np.floating],
    expressions: Expressions,
    label: int | None,
) -> None:
    answer = int(probabilities_K.argmax())
    title = f"{plots.short(expressions[answer], _TITLE_NAME)} {percent(probabilities_K[answer], 0)}"
    colour = BLUE
    if label is not None and label != answer:
        title += f", labelled {plots.short(expressions[label], _TITLE_NAME)}"
        colour = ORANGE
    style = {"color": colour, "fontsize": 10, "fontweight": "bold", "parse_math": False}
    card.suptitle(title, x=0.03, ha="left", **style)
    face, bars = card.subplots(1, 2, width_ratios=(1, 0.85))
    _face(face, face_CHW)
    _bars(bars, probabilities_K, expressions, colour)


def _face(axes: Axes, face_CHW: NDArray[np.uint8]) -> None:
    axes.imshow(
        face_CHW[0] if len(face_CHW) == 1 else face_CHW.transpose(1, 2, 0),
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="lanczos",
    )
    axes.set_axis_off()


def _bars(
    axes: Axes, probabilities_K: NDArray[np.floating], expressions: Expressions, colour: str
) -> None:
    """Draw a bar with its percentage for each expression, the first on top, the largest in `colour`."""
    places = np.arange(len(expressions))
    answer = int(probabilities_K.argmax())
    axes.barh(
        places,
        probabilities_K,
        0.7,
        color=[colour if place == answer else plots.LINE for place in places],
    )
    for place, probability in enumerate(probabilities_K):
        axes.text(
            probability + 0.04,
            place,
            f"{100 * probability:.0f}",
            va="center",
            fontsize=8,
            color=plots.INK if place == answer else plots.MUTED,
        )
    axes.set(xlim=(0, 1.25), ylim=(len(expressions) - 0.5, -0.5), xticks=[])
    axes.set_yticks(places, [plots.short(name) for name in expressions], parse_math=False)
    axes.tick_params(axis="y", length=0, pad=4, labelsize=8.5, labelcolor=plots.MUTED)
    axes.get_yticklabels()[answer].set(color=plots.INK, fontweight="bold")
    for spine in axes.spines.values():
        spine.set_visible(False)
