"""The figure that every plot is drawn on. Importing this needs matplotlib."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from mien.pages.png import write_png

#: CSS pixels an inch. The picture itself has more, and stays sharp on a fine screen.
_SCREEN = 96


class ShownFigure(Figure):
    """A matplotlib Figure that a notebook shows where a cell ends in it, without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The PNG and the width to show it in, as IPython asks for them."""
        buffer = io.BytesIO()
        write_png(self, buffer)
        return buffer.getvalue(), {"width": round(_SCREEN * self.get_figwidth())}
