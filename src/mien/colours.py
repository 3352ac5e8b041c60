"""Colours of expressions and of figures; people with colour blindness can tell the colours of each set apart.

tests/test_colours.py measures the distances of the expressions' colours with and without colour blindness. The web
page has the same colours in `serving/page/colours.js`; the same test compares them.
"""

from collections.abc import Sequence

#: For lines, bars and runs: the palette of Okabe and Ito (2008), with violet and gray in place of yellow and black.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
#: For series and runs, in order.
CYCLE = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#808080")

#: sRGB, with customary meanings: anger red, joy yellow, sadness blue. Other names take free ones in this order.
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
    """Choose a colour (`#rrggbb`) for each name of a label set, in its order.

    The usual expressions have fixed colours. Other names get the colours that are left, in turn; in sets of more
    than eight names, colours repeat.

    >>> colours_of(["happy", "bored", "angry"])
    ('#e4c11c', '#5f86ea', '#e5484d')
    """
    free = [colour for name, colour in EXPRESSION_COLOURS.items() if name not in expressions]
    rest = [name for name in expressions if name not in EXPRESSION_COLOURS]
    spare = free or list(EXPRESSION_COLOURS.values())
    given = {name: spare[place % len(spare)] for place, name in enumerate(rest)}
    return tuple((EXPRESSION_COLOURS | given)[name] for name in expressions)
