"""What is drawn lies inside the picture."""

import numpy as np
import pytest

from mien.evaluation import compute_scores
from mien.pages import plots


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
