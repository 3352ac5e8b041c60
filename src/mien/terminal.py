"""How every table in the terminal looks."""

from __future__ import annotations

from textwrap import wrap

from rich import box
from rich.console import Group
from rich.jupyter import JupyterMixin
from rich.table import Table

#: Letters in a line of a column's head; a single word may have more.
_WIDE = 10


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
