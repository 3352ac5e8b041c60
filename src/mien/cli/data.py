"""mien data: look at faces, read them ahead of time, fetch FER-2013."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table

from mien import api
from mien.cli import options
from mien.cli.output import note, show
from mien.data.inspect import Inspection, contact_sheet
from mien.data.inspect import inspect as count
from mien.data.store import FaceStore
from mien.errors import InputError, near_names
from mien.tables import facts, table

app = typer.Typer(
    help="Look at data, read it ahead of time, download FER-2013.", no_args_is_help=True
)

Source = Annotated[str, typer.Argument(metavar="PATH", help="As --data of `mien train`.")]


def _load(path: str, labels: str | None) -> FaceStore:
    return api.load(path, labels=options.names(labels))


@app.command()
def inspect(
    path: Source,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw a picture of samples.")
    ] = None,
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Count faces by split and expression, find exact copies, draw samples."""
    store = _load(path, labels)
    found = count(store)
    show(asdict(found), Group(_counts(found), _facts(found)), as_json=as_json)
    if out is not None:
        contact_sheet(store, out)
        note(f"samples: {out}")


@app.command()
def prepare(
    path: Source,
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Read a source into the cache now, so that later commands open it at once."""
    found = count(_load(path, labels))
    show(asdict(found), _counts(found), as_json=as_json)
    if found.cache is not None:
        note(f"ready in {found.cache}")


@app.command()
def download(
    name: Annotated[str, typer.Argument(metavar="fer2013", help="What to download.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="By default kagglehub's own cache.")
    ] = None,
) -> None:
    """Download FER-2013 from Kaggle with your own key (extra 'data')."""
    from mien.data.download import download_fer2013

    if name != "fer2013":
        raise InputError(
            f"there is no dataset {name!r} to download ({near_names(name, ['fer2013'])})"
        )
    folder = download_fer2013(out, note)
    note(f"next: mien data inspect {folder}")


def _counts(found: Inspection) -> Table:
    counts = table("split", *found.expressions, "all", title=f"{found.images:,} faces")
    for split, by_expression in found.counts.items():
        numbers = [*by_expression.values(), sum(by_expression.values())]
        counts.add_row(split, *(f"{number:,}" for number in numbers))
    return counts


def _facts(found: Inspection) -> Table:
    copies = found.copies
    in_train = ", ".join(f"{n:,} {split}" for split, n in copies.with_copy_in_train.items())
    said = facts()
    said.add_row("size", f"{found.width} x {found.height}, {found.channels} channel(s)")
    said.add_row("fingerprint", found.fingerprint)
    said.add_row(
        "exact copies",
        f"{copies.groups:,} groups of {copies.images:,} images; {copies.groups_across_splits:,} "
        f"groups span splits, {copies.groups_with_different_labels:,} carry different labels",
    )
    said.add_row("copies in training", f"of {in_train} images")
    return said
