"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

#: For people: progress, notes, errors.
messages = Console(stderr=True)


def show(content: Any, table: RenderableType, *, as_json: bool) -> None:
    """A result: one JSON object for machines, or a table for people."""
    if as_json:
        sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
    else:
        Console().print(table)


def table(*columns: str, title: str | None = None) -> Table:
    """A table of results, narrow enough for 80 columns; every column but the first is a figure."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for position, column in enumerate(columns):
        made.add_column(column, justify="right" if position else "left")
    return made


def facts() -> Table:
    """Names and what is said of each, folded where it is long."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    return made


def note(text: str) -> None:
    """A line for people on standard error."""
    messages.print(text, highlight=False, soft_wrap=True, markup=False)


def command_line() -> str:
    """What was typed, so that a run can say how it was made."""
    return shlex.join(["mien", *sys.argv[1:]])
