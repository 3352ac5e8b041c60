"""Faces beside their probabilities: what is drawn is what the arrays say, and it fits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.pages import draw_predictions, plots

NAMES = ("angry", "happy", "neutral")


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (4, 1, 12, 12), dtype=np.uint8)


PROBABILITIES = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0, 0, 1], [0.2, 0.5, 0.3]])


def cards_of(figure):
    """(title, axes of the face, bars) of each face, in order."""
    cards = [card for card in figure.subfigs if card.axes]
    return [(card.get_suptitle(), card.axes[0], card.axes[1].patches) for card in cards]


def test_each_face_stands_beside_its_own_bars(faces):
    figure = draw_predictions(faces, PROBABILITIES, NAMES, np.array([1, 0, 0, 1]))
    for card, pixels, probabilities in zip(cards_of(figure), faces, PROBABILITIES, strict=True):
        _, face, bars = card
        assert np.array_equal(face.images[0].get_array(), pixels[0])
        assert [bar.get_width() for bar in bars] == pytest.approx(list(probabilities))


def test_an_answer_that_is_not_the_label_is_said_and_coloured(faces):
    figure = draw_predictions(faces, PROBABILITIES, NAMES, np.array([1, 0, 0, 1]))
    cards = cards_of(figure)
    assert [title for title, *_ in cards] == [
        "happy 70 %",
        "angry 60 %",
        "neutral 100 %, labelled angry",
        "happy 50 %",
    ]
    colours = [
        bars[row.argmax()].get_facecolor()
        for (_, _, bars), row in zip(cards, PROBABILITIES, strict=True)
    ]
    assert colours[0] == colours[1] == colours[3] != colours[2]


def test_without_labels_nothing_is_called_wrong(faces):
    figure = draw_predictions(faces, PROBABILITIES, NAMES)
    assert not any("labelled" in title for title, *_ in cards_of(figure))


def test_titles_keep_to_their_face_whatever_the_names(faces):
    names = ("a name that has no end, and goes on", "$x_{", "another name without an end")
    figure = draw_predictions(faces, PROBABILITIES, names, np.array([0, 2, 0, 0]))
    figure.draw_without_rendering()
    for card in (card for card in figure.subfigs if card.axes):
        title = card._suptitle.get_window_extent()
        assert title.x1 <= card.bbox.x1


def test_colour_faces_and_a_single_one_can_be_drawn():
    colour = np.random.default_rng(0).integers(0, 256, (1, 3, 20, 10), dtype=np.uint8)
    figure = draw_predictions(colour, PROBABILITIES[:1], NAMES)
    shown = cards_of(figure)[0][1].images[0].get_array()
    assert np.array_equal(shown, colour[0].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("count", "probabilities", "labels", "said"),
    [
        (0, np.zeros((0, 3)), None, "1 to 60"),
        (61, np.zeros((61, 3)), None, "1 to 60"),
        (2, np.zeros((2, 7)), None, r"\(2, 3\)"),
        (2, np.zeros((3, 3)), None, r"\(2, 3\)"),
        (2, np.zeros((2, 3)), np.zeros(5, np.int64), "5 labels for 2 faces"),
    ],
)
def test_what_does_not_belong_together_is_refused(count, probabilities, labels, said):
    faces = np.zeros((count, 1, 8, 8), np.uint8)
    with pytest.raises(InputError, match=said):
        draw_predictions(faces, probabilities, NAMES, labels)


def test_a_notebook_is_handed_a_picture_of_any_figure():
    figure = plots.blank(5, 2)
    figure.add_subplot().set_title("名")  # a letter the font lacks is no reason to warn
    png, shown = figure._repr_png_()
    with Image.open(io.BytesIO(png)) as image:
        width, height = image.size
    assert width / height == pytest.approx(5 / 2)
    assert width > shown["width"] == 480
