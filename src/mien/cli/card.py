"""mien card: what a network is for, and how far to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options
from mien.cli.output import note, show
from mien.runs import RunFolder
from mien.terminal import facts

app = typer.Typer()


@app.command()
def card(
    run: options.Run,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default the run's.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights.")] = None,
    as_json: options.Json = False,
) -> None:
    """Write a run's model card, as Markdown and as a page: purpose, data, scores, failures, law."""
    from mien.pages import write_card

    folder = RunFolder.open(run)
    files = write_card(folder, out or folder.path, licence=licence)
    written = facts()
    written.add_row("card", str(files.markdown))
    written.add_row("page", str(files.html))
    content = {"markdown": str(files.markdown), "html": str(files.html)}
    show(content, written, as_json=as_json)
    note("read it before you hand the network on: what it cannot know, you may")
