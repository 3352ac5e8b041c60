"""Writing of figures as PNG."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "#ffffff"


def write_png(figure: Figure, handle: IO[bytes]) -> None:
    """Write a figure as PNG with 160 dots per inch on white."""
    with any_script():
        figure.savefig(handle, format="png", dpi=160, facecolor=PAPER)


@contextmanager
def any_script() -> Iterator[None]:
    """Silence the warning for letters that matplotlib's font lacks; a PNG shows them as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
