"""Output of the command line: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.progress import Progress as Bar
from rich.progress import ProgressColumn

from mien.callbacks import Progress
from mien.errors import visible, writing_to
from mien.terminal import Terminal

#: The console for people, on standard error: progress, notes, errors.
messages = Terminal(stderr=True)


def show(content: Any, table: RenderableType, *, as_json: bool) -> None:
    """Print a result: one JSON object for programs, or a table for people.

    Raises:
        InputError: standard output cannot be written, for example as its file's disk is full.
    """
    with writing_to(Path("standard output")):
        if as_json:
            sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
        else:
            Terminal().print(table)
        sys.stdout.flush()


def note(text: str) -> None:
    """Print a line for people on standard error."""
    messages.print(visible(text), highlight=False, soft_wrap=True, markup=False, emoji=False)


def progress_bar(*columns: ProgressColumn) -> Bar:
    """Make a progress bar of some columns, or the usual ones; it is shown on a terminal only, and goes at its end."""
    return Bar(*columns, console=messages, transient=True, disable=not messages.is_terminal)


@contextmanager
def counting(what: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal; yields the function to call with (number done, total number)."""
    with progress_bar() as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def command_line() -> str:
    """The command line of this process, for the record in runs and reports."""
    return shlex.join(["mien", *sys.argv[1:]])
