"""mien sweep: search the settings of a recipe that are best on validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli import options
from mien.cli.output import command_line, note, show
from mien.errors import InputError

app = typer.Typer()


@app.command()
def sweep(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="See `mien recipes`; or a recipe's file (.json)."),
    ],
    space: Annotated[
        Path,
        typer.Option(
            metavar="FILE.toml",
            help="Fields as --set names them: optimizer.lr = { low = 1e-4, high = 1e-2, log = true }, "
            'optimizer.name = { choice = ["adam", "sgd"] }.',
        ),
    ],
    trials: Annotated[
        int, typer.Option(metavar="N", min=1, help="Trials in all; those in --out count.")
    ] = 20,
    data: options.Data = "synthetic",
    out: Annotated[
        Path | None, typer.Option(help="Folder of trials and report; by default sweeps/RECIPE.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="optuna|ray", help="Processes here, or Ray Tune on a cluster (RAY_ADDRESS)."
        ),
    ] = "optuna",
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Trials at a time.")] = 1,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="As for `mien train`, for all trials."),
    ] = None,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Search the settings of a recipe that are best on validation, and write them as a recipe's file.

    Optuna chooses, poor trials are stopped early. The same command goes on where it was stopped, and
    a larger --trials adds to what is there. The test split is never read.
    """
    from mien.studies.sweep import sweep as sweep_recipe
    from mien.studies.sweep_page import next_command, render_sweep

    if engine not in ("optuna", "ray"):
        raise InputError(f"--engine {engine}: use optuna or ray")
    out = out if out is not None else Path("sweeps") / Path(recipe).stem
    found = sweep_recipe(
        recipe,
        data,
        space=space,
        trials=trials,
        out=out,
        engine="ray" if engine == "ray" else "optuna",
        workers=workers,
        overrides=overrides or [],
        labels=options.names(labels),
        device=device,
        say=note,
        command=command_line(),
    )
    show(found.to_dict(), render_sweep(found), as_json=as_json)
    note(f"page: {out / 'sweep.html'}")
    note(f"next: {next_command(found)}")
