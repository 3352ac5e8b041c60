"""mien export-web: write the web page as a static site without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options
from mien.cli.output import note, show
from mien.terminal import facts

app = typer.Typer()


@app.command("export-web")
def export_web(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the site.")],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A model file, a run folder or a name; by default the packaged model.",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="npm's onnxruntime-web, packed or unpacked; by default it is downloaded, once.",
        ),
    ] = None,
    card: options.CardPage = None,
    as_json: options.Json = False,
) -> None:
    """Write the web page as a static site: recognition runs in the browser, and pictures never leave it."""
    from mien.serving import web_export

    made = web_export.export_web(out, model, runtime=runtime, card_page=card, say=note)
    rows = facts()
    rows.add_row("site", f"{made.path} ({made.size / 1e6:.1f} MB)")
    rows.add_row("model", f"{made.card.name} ({made.card.digest[:12]})")
    rows.add_row("runtime", f"onnxruntime-web {web_export.RUNTIME}")
    show(made.to_dict(), rows, as_json=as_json)
    note(f"next: python -m http.server --bind 127.0.0.1 -d {out}, or put it on any static host")
