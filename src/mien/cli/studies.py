"""mien reproduce and diagnose: studies that train networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien import api
from mien.cli import options
from mien.cli.output import command_line, show
from mien.terminal import note

app = typer.Typer()


@app.command()
def reproduce(
    data: Annotated[str, typer.Option("--data", "-d", metavar="PATH", help="As for `mien train`.")],
    only: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Names of recipes; by default of all reference systems."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Epochs of each, for a quick test; marked as such, no reproduction."
        ),
    ] = None,
    overrides: options.Overrides = None,
    seeds: Annotated[str, typer.Option(metavar="0-2", help="Train once for each seed.")] = "0",
    skip_damaged: options.SkipDamaged = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for runs and page.")] = Path(
        "reproduction"
    ),
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Train and score the reference systems, and compare with the published figures on one page.

    Finished runs in --out are kept, and interrupted ones resumed; calls with other --data add to the
    same page.
    """
    from mien.studies.reproduce import reproduce as reproduce_all
    from mien.studies.reproduction_page import render_reproduction

    found = reproduce_all(
        data,
        out,
        only=only,
        overrides=[*(overrides or []), *([f"epochs={epochs}"] if epochs is not None else [])],
        seeds=api.parse_seeds(seeds),
        skip_damaged=skip_damaged,
        device=device,
        command=command_line(),
        say=note,
    )
    show(found.to_dict(), render_reproduction(found), as_json=as_json)
    note(f"page: {out / 'reproduce.html'}")
    if found.failures:
        raise typer.Exit(1)


@app.command()
def diagnose(
    recipe: options.Recipe,
    data: options.Data = "synthetic",
    budget: Annotated[
        float,
        typer.Option(metavar="MINUTES", help="Training time, which decides the number of trials."),
    ] = 30,
    votes: options.Votes = None,
    overrides: options.Overrides = None,
    skip_damaged: options.SkipDamaged = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of trials and report; by default diagnosis/RECIPE."
        ),
    ] = None,
    imported: options.Import = None,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Find the reason that a recipe overfits: data, capacity, regularisation or labels.

    Trains the recipe repeatedly with one change at a time. Finished trials in --out are kept: a
    second call with a larger --budget adds to the first.
    """
    from mien.studies.diagnose import diagnose as diagnose_recipe
    from mien.studies.diagnosis_page import plain, render_diagnosis
    from mien.studies.verdicts import verdicts

    out = out if out is not None else Path("diagnosis") / recipe
    found = diagnose_recipe(
        recipe,
        data,
        budget=budget,
        out=out,
        votes=votes,
        overrides=overrides or [],
        labels=labels,
        skip_damaged=skip_damaged,
        device=device,
        imported=imported,
        command=command_line(),
    )
    judged = verdicts(found)
    show(plain(found, judged), render_diagnosis(found, judged), as_json=as_json)
    note(f"page: {out / 'diagnosis.html'}")
