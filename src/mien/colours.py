"""Colours that colour-blind people can tell apart: Okabe and Ito's (2008), violet and gray for yellow and black."""

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
#: For series, runs and expressions, by their place.
CYCLE = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#808080")
