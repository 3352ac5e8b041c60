"""mien data audit: find faults in a set of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from mien import api
from mien.cli import options
from mien.cli.output import messages, note, show
from mien.errors import InputError


def audit(
    path: Annotated[str, typer.Argument(metavar="PATH", help="As --data of `mien train`.")],
    votes: options.Votes = None,
    cross_validate: Annotated[
        bool,
        typer.Option(
            "--cross-validate", help="Train networks in folds, and list labels that they reject."
        ),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Training time of --cross-validate; by default 30."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for page, JSON and list of exclusions.")
    ] = Path("audit"),
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Find copies, wrong labels and bad pictures; write a page, and a list for --exclude.

    Finds exact and near copies within and across splits, copies with conflicting labels, blank
    pictures, drawings, pictures without a face, extreme light, labels that FER+'s annotators or
    networks reject, and reports the class balance.
    """
    from mien.auditing.audit import Look
    from mien.auditing.audit import audit as look_through
    from mien.auditing.page import render_audit, write_audit

    if budget is not None and not cross_validate:
        raise InputError("--budget is the time for training in folds: add --cross-validate")
    looks: tuple[Look, ...] = ()
    if cross_validate:
        from mien.auditing.cross_validation import CrossValidation

        looks = (CrossValidation(30 if budget is None else budget, device),)
    store = api.load(path, labels=options.names(labels))
    with Progress(console=messages, transient=True, disable=not messages.is_terminal) as bar:
        tasks: dict[str, int] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)  # type: ignore[arg-type]

        found = look_through(store, votes=votes, looks=looks, progress=progress)
    write_audit(found, out)
    show(found.to_dict(), render_audit(found), as_json=as_json)
    note(f"page: {out / 'audit.html'}")
    note(f"next: read {out / 'exclusions.csv'}, delete rows that you do not agree with, then")
    note(f"      mien train RECIPE --data {path} --exclude {out / 'exclusions.csv'}")
