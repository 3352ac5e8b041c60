"""The class of every figure. This module imports matplotlib."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from mien.pages.png import write_png

#: CSS pixels per inch. The PNG has more pixels, to be sharp on screens of high resolution.
_SCREEN = 96


class ShownFigure(Figure):
    """A matplotlib Figure that a notebook displays as the last line of a cell, without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the PNG and its display width in CSS pixels, in the form of IPython's protocol."""
        buffer = io.BytesIO()
        write_png(self, buffer)
        return buffer.getvalue(), {"width": round(_SCREEN * self.get_figwidth())}
