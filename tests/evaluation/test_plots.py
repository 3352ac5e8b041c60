"""What is drawn lies inside the picture."""

import numpy as np
import pytest

from mien.evaluation import Evaluation, compute_scores
from mien.evaluation.confidence import confidence
from mien.pages import plots
from mien.pages.plots_of_confidence import risk_coverage


@pytest.mark.parametrize("classes", [2, 3, 7, 12])
def test_titles_and_names_of_a_confusion_matrix_are_not_cut_off(classes):
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(classes), size=40)
    scores = compute_scores(probabilities, generator.integers(0, classes, 40))
    names = tuple(f"expression {n}" for n in range(classes))
    figure = plots.confusion(scores.confusion, names, "Validation")
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= width
        assert box.y1 <= height


def test_ticks_between_whole_percents_are_not_rounded():
    figure, axes = plots.canvas()
    axes.set_ylim(0.3, 0.5)
    axes.set_yticks([0.3, 0.325, 0.35])
    plots.in_percent(axes.yaxis)
    figure.canvas.draw()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["30 %", "32.5 %", "35 %"]


@pytest.mark.parametrize("count", [4, 12, 200])
def test_the_curve_of_wrong_answers_is_drawn_of_a_few_faces_too(count):
    labels = np.arange(count) % 2
    logits = np.stack([np.linspace(-1, 1.3, count), np.linspace(1, -1.3, count)], axis=1)
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    evaluation = Evaluation(
        expressions=("happy", "sad"),
        split="validation",
        rows=np.array([f"{n}.png" for n in range(count)]),
        labels=labels,
        copies=np.zeros(count, np.bool_),
        training_faces=10,
        probabilities={"none": probabilities},
        source="made up",
        fingerprint="0" * 64,
    ).scored()
    found = confidence({"validation": evaluation})
    assert found is not None
    (axes,) = risk_coverage(found).axes
    shown = axes.lines[0].get_xdata()
    assert len(shown)
    assert shown[0] <= min(20 / count, 0.5) + 1 / count


def test_a_run_of_one_epoch_is_a_dot_where_a_line_cannot_be_seen():
    row = {
        "epoch": 1,
        "train_accuracy": 0.3,
        "validation_accuracy": 0.2,
        "train_loss": 2,
        "validation_loss": 2,
    }
    figures = [plots.overlay({"short": [[row]]}), plots.accuracy_curves([row])]
    for figure in figures:
        assert [line.get_marker() for line in figure.axes[0].lines[:2]] == ["o", "o"]
    longer = plots.overlay({"long": [[row, row | {"epoch": 2}]]})
    assert {line.get_marker() for line in longer.axes[0].lines} == {"None"}
