"""mien sweep: search the settings of a recipe that are best on validation."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options
from mien.cli.output import command_line, show
from mien.terminal import note

app = typer.Typer()


Space = Annotated[
    Path,
    typer.Option(
        metavar="FILE.toml",
        help=(
            "Fields named as for --set: optimizer.lr = { low = 1e-4, high = 1e-2, log = true }, "
            'optimizer.name = { choice = ["adam", "sgd"] }.'
        ),
    ),
]
Trials = Annotated[
    int, typer.Option(metavar="N", min=1, help="Total number of trials, with those in --out.")
]
Out = Annotated[
    Path | None, typer.Option(help="Folder of trials and report; by default sweeps/RECIPE.")
]
Workers = Annotated[int, typer.Option(metavar="N", min=1, help="Trials at a time.")]


@app.command()
def sweep(
    recipe: options.Recipe,
    space: Space,
    trials: Trials = 20,
    data: options.Data = "synthetic",
    out: Out = None,
    workers: Workers = 1,
    overrides: options.Overrides = None,
    skip_damaged: options.SkipDamaged = False,
    imported: options.Import = None,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Search the settings of a recipe that are best on validation, and write them as a recipe's file.

    Optuna chooses the trials, and poor ones are stopped early. The same command resumes a stopped
    sweep, and a larger --trials adds to it. Machines that share --out share the trials if each is given
    the same command. The test split is never read.
    """
    from mien.studies.sweep import sweep as sweep_recipe
    from mien.studies.sweep_page import next_command, render_sweep

    out = out if out is not None else Path("sweeps") / Path(recipe).stem
    found = sweep_recipe(
        recipe,
        data,
        space=space,
        trials=trials,
        out=out,
        workers=workers,
        overrides=overrides or [],
        labels=labels,
        skip_damaged=skip_damaged,
        device=device,
        imported=imported,
        say=note,
        command=command_line(),
    )
    show(found.to_dict(), render_sweep(found), as_json=as_json)
    note(f"page: {out / 'sweep.html'}")
    again = "" if imported is None else f" --import {shlex.quote(str(imported))}"
    note(f"next: {next_command(found)}{again}")
