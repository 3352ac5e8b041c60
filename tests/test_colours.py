"""Expressions have the colours that people expect, and nobody has to guess which is which."""

from __future__ import annotations

import itertools
import re
from importlib import resources

import numpy as np
import pytest

from mien.colours import EXPRESSION_COLOURS, colours_of
from mien.expressions import SEVEN

#: What linear sRGB looks like without one kind of cone: Machado, Oliveira and Fernandes (2009), severity 1.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
#: The two grounds that pictures and pages have: white, and the sheet of the page in the dark.
WHITE, DARK = "#ffffff", "#1f1e1c"
#: Names of hues, in degrees of CIELAB.
HUES = {
    "angry": (10, 45),  # red
    "happy": (80, 105),  # yellow
    "sad": (260, 300),  # blue
    "fear": (305, 335),  # violet
    "disgust": (120, 170),  # green
    "surprise": (205, 240),  # cyan
}


def linear(colour: str) -> np.ndarray:
    part = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """CIELAB under D65 of linear sRGB."""
    ratio = TO_XYZ @ light / TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """The difference of two colours in CIELAB (Sharma, Wu and Dalal 2005)."""
    (light_1, a_1, b_1), (light_2, a_2, b_2) = one, other
    mean = (np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25**7))
    chroma_1, chroma_2 = np.hypot(stretch * a_1, b_1), np.hypot(stretch * a_2, b_2)
    hue_1 = np.degrees(np.arctan2(b_1, stretch * a_1)) % 360
    hue_2 = np.degrees(np.arctan2(b_2, stretch * a_2)) % 360
    turn = (hue_2 - hue_1 + 180) % 360 - 180
    light, chroma, hue = (light_1 + light_2) / 2, (chroma_1 + chroma_2) / 2, hue_1 + turn / 2

    def wave(share: float, times: int, start: float) -> float:
        return float(share * np.cos(np.radians(times * hue + start)))

    seen = 1 + wave(-0.17, 1, -30) + wave(0.24, 2, 0) + wave(0.32, 3, 6) + wave(-0.20, 4, -63)
    by_light = (light_2 - light_1) / (
        1 + 0.015 * (light - 50) ** 2 / np.hypot(np.sqrt(20), light - 50)
    )
    by_chroma = (chroma_2 - chroma_1) / (1 + 0.045 * chroma)
    by_hue = 2 * np.sqrt(chroma_1 * chroma_2) * np.sin(np.radians(turn / 2))
    by_hue /= 1 + 0.015 * chroma * seen
    bent = np.radians(60 * np.exp(-((((hue % 360) - 275) / 25) ** 2)))
    bend = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * np.sin(bent)
    return float(np.sqrt(by_light**2 + by_chroma**2 + by_hue**2 + bend * by_chroma * by_hue))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: 1 to 21."""
    dark, light = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ],
)
def test_the_measure_is_the_published_one(one, other, difference):
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(difference, abs=1e-4)


@pytest.mark.parametrize("vision", VISIONS)
def test_no_two_expressions_look_alike(vision):
    """A difference of about 2 can just be seen side by side; from 10 on it is plain at a glance."""
    seen = {
        name: lab(np.clip(VISIONS[vision] @ linear(colour), 0, 1))
        for name, colour in EXPRESSION_COLOURS.items()
    }
    pairs = {(a, b): ciede2000(seen[a], seen[b]) for a, b in itertools.combinations(seen, 2)}
    nearest = min(pairs, key=pairs.__getitem__)
    assert pairs[nearest] > (16 if vision == "usual" else 13), (nearest, pairs[nearest])


@pytest.mark.parametrize(("ground", "least"), [(WHITE, 1.7), (DARK, 2.4)])
def test_every_colour_stands_out_from_its_ground(ground, least):
    """Yellow is light, whoever chooses it: so boxes have an edge, and nothing is told by colour alone."""
    for name, colour in EXPRESSION_COLOURS.items():
        assert contrast(colour, ground) > least, name


@pytest.mark.parametrize("name", HUES)
def test_hues_are_those_of_habit(name):
    _, a, b = lab(linear(EXPRESSION_COLOURS[name]))
    assert np.hypot(a, b) > 25
    assert HUES[name][0] < np.degrees(np.arctan2(b, a)) % 360 < HUES[name][1]


def test_neutral_is_gray():
    _, a, b = lab(linear(EXPRESSION_COLOURS["neutral"]))
    assert np.hypot(a, b) < 4


def test_the_usual_expressions_keep_their_colour_in_any_set():
    assert colours_of(SEVEN) == tuple(EXPRESSION_COLOURS[name] for name in SEVEN)
    assert colours_of(SEVEN[::-1]) == colours_of(SEVEN)[::-1]
    mixed = colours_of(["bored", "sad", "tense", "happy"])
    assert mixed[1::2] == (EXPRESSION_COLOURS["sad"], EXPRESSION_COLOURS["happy"])
    assert len(set(mixed)) == 4
    many = [f"n{number}" for number in range(11)]
    assert len(set(colours_of(many))) == 8
    assert colours_of([*EXPRESSION_COLOURS, "bored"])[-1] in EXPRESSION_COLOURS.values()


def test_the_page_has_the_same_colours():
    script = resources.files("mien").joinpath("serving/page/colours.js").read_text("utf-8")
    written = re.findall(r'^  (\w+): "(#\w{6})",$', script, re.MULTILINE)
    assert written == list(EXPRESSION_COLOURS.items())  # the order counts for names of one's own
