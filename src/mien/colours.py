"""Colours of expressions, as habit has them, and of figures; colour-blind people can tell each set apart.

tests/test_colours.py measures how far apart the colours of expressions are for people with and without colour
blindness. The page has the same colours in `serving/page/colours.js`; the same test holds them together.
"""

from collections.abc import Sequence

#: For lines, bars and runs: Okabe and Ito's (2008), with violet and gray for yellow and black.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
#: For series and runs, by their place.
CYCLE = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#808080")

#: Anger red, joy yellow, sadness blue: sRGB. Their order is that in which names of one's own take them.
EXPRESSION_COLOURS = {
    "sad": "#5f86ea",
    "happy": "#e4c11c",
    "disgust": "#2b7d10",
    "fear": "#8d3aae",
    "surprise": "#79cfe6",
    "angry": "#e5484d",
    "contempt": "#aa2266",
    "neutral": "#949291",
}


def colours_of(expressions: Sequence[str]) -> tuple[str, ...]:
    """A colour (`#rrggbb`) for each name of a label set, in its order.

    The usual expressions have their own colours. Other names take, in turn, those that no usual expression of
    the set has; in sets of more than eight names colours come again.

    >>> colours_of(["happy", "bored", "angry"])
    ('#e4c11c', '#5f86ea', '#e5484d')
    """
    free = [colour for name, colour in EXPRESSION_COLOURS.items() if name not in expressions]
    rest = [name for name in expressions if name not in EXPRESSION_COLOURS]
    spare = free or list(EXPRESSION_COLOURS.values())
    given = {name: spare[place % len(spare)] for place, name in enumerate(rest)}
    return tuple((EXPRESSION_COLOURS | given)[name] for name in expressions)
