"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import RenderableType
from rich.progress import Progress as Bar

from mien.callbacks import Progress
from mien.errors import visible
from mien.terminal import Terminal

#: For people: progress, notes, errors.
messages = Terminal(stderr=True)


def show(content: Any, table: RenderableType, *, as_json: bool) -> None:
    """A result: one JSON object for machines, or a table for people."""
    if as_json:
        sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
    else:
        Terminal().print(table)


def note(text: str) -> None:
    """A line for people on standard error."""
    messages.print(visible(text), highlight=False, soft_wrap=True, markup=False, emoji=False)


@contextmanager
def counting(what: str) -> Iterator[Progress]:
    """A bar on a terminal while something is done; yields what is told (done, in all)."""
    with Bar(console=messages, transient=True, disable=not messages.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def command_line() -> str:
    """What was typed, so that a run can say how it was made."""
    return shlex.join(["mien", *sys.argv[1:]])
