"""mien card: write a model card, about a network's purpose, data, scores and limits."""

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
        Path | None, typer.Option(metavar="DIR", help="Folder to write to; by default the run's.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of the weights.")
    ] = None,
    name: options.ModelName = None,
    as_json: options.Json = False,
) -> None:
    """Write a run's model card as Markdown and HTML: purpose, data, scores, failures, legal notes."""
    from mien.pages import write_card

    folder = RunFolder.open(run)
    files = write_card(folder, out or folder.path, licence=licence, name=name)
    written = facts()
    written.add_row("card", str(files.markdown))
    written.add_row("page", str(files.html))
    content = {"markdown": str(files.markdown), "html": str(files.html)}
    show(content, written, as_json=as_json)
    note("read and complete it before you publish the network: it has only what the run knows")
