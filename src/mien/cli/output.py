"""Results of the command line, on standard output; `mien.terminal.note` writes everything else."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from mien.errors import writing_to
from mien.terminal import Terminal


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


def command_line() -> str:
    """The command line of this process, for the record in runs and reports."""
    return shlex.join(["mien", *sys.argv[1:]])
