"""How every table in the terminal looks."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.jupyter import JupyterMixin
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mien.errors import visible

#: Letters in a line of a column's head; a single word may have more.
_WIDE = 10


class Terminal(Console):
    """A console on which no name and no label can erase, colour or move anything: they are printed as visible text."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The renderable in segments; of text, only line ends are acted on."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else segment._replace(text=visible(segment.text, keep="\n"))
            )


def named(name: str) -> Text:
    """A name for a cell or a line: visible text, no markup, one line."""
    return Text(visible(name))


class Stack(Group, JupyterMixin):
    """Tables one below the other, shown by a notebook too where a cell ends in them."""


def table(*columns: str, title: str | None = None) -> Table:
    """A table of results, narrow enough for 80 columns; every column but the first is a figure."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for position, column in enumerate(columns):
        lines = wrap(column, _WIDE, break_long_words=False)  # between words and after hyphens
        made.add_column("\n".join(lines), justify="right" if position else "left")
    return made


def facts() -> Table:
    """Names and what is said of each, folded where it is long."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    return made
