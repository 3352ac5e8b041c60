"""mien train, teach, recipes and models: train networks, and list recipes and networks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mien import api
from mien.cli import options
from mien.cli.output import command_line, show
from mien.runs import RunFolder
from mien.terminal import Stack, counting, facts, note, table

app = typer.Typer()


Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run folder; by default runs/RECIPE.")
]
Epochs = Annotated[str | None, typer.Option(metavar="N", help="Short for --set epochs=N.")]
BatchSize = Annotated[str | None, typer.Option(metavar="N", help="Short for --set batch_size=N.")]
Lr = Annotated[
    str | None, typer.Option("--lr", metavar="RATE", help="Short for --set optimizer.lr=RATE.")
]
Init = Annotated[
    str | None,
    typer.Option(
        metavar="RUN|FILE|hub|package|none",
        help="Initial weights: of a run or file, pretrained (hub, package), or random (none).",
    ),
]
Seeds = Annotated[str | None, typer.Option(metavar="0-4", help="Train once for each seed.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in --out.")]
CheckpointEvery = Annotated[
    str,
    typer.Option(
        metavar="200|10m|none",
        help="Save the state for --resume also within epochs: every N steps or minutes (10m).",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show data, network and plan; train nothing."),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile", help="Let torch compile the step: faster on a GPU, after about a minute."
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TRACKER",
        help="Also log to wandb, wandb-offline, tensorboard or mlflow; can be repeated.",
    ),
]


@app.command()
def train(
    recipe: options.Recipe,
    data: options.Data = "synthetic",
    out: Out = None,
    overrides: options.Overrides = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Lr = None,
    init: Init = None,
    seeds: Seeds = None,
    resume: Resume = False,
    checkpoint_every: CheckpointEvery = "10m",
    exclude: options.Exclude = None,
    skip_damaged: options.SkipDamaged = False,
    dry_run: DryRun = False,
    compiled: Compiled = False,
    track: Track = None,
    imported: options.Import = None,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Train a recipe: fit the training split, select on validation. The test split is never read."""
    settings: dict[str, Any] = {
        "overrides": [
            *(overrides or []),
            *_short({"epochs": epochs, "batch_size": batch_size, "optimizer.lr": lr}),
        ],
        "init": init,
        "labels": labels,
        "device": device,
        "exclude": exclude,
        "skip_damaged": skip_damaged,
        "imported": imported,
    }
    if dry_run:
        plan = api.plan(recipe, data, out, **settings)
        show(plan.to_dict(), plan.render(), as_json=as_json)
        return
    settings |= {
        "resume": resume,
        "checkpoint_every": checkpoint_every,
        "compiled": compiled,
        "track": track or [],
        "command": command_line(),
    }
    if seeds is None:
        runs = [api.train(recipe, data, out, **settings)]
    else:
        runs = api.train_seeds(seeds, recipe, data, out, **settings)
    from mien.training import is_first

    if not is_first():  # of the processes that torchrun started, only the first one prints
        return
    rows = [_best_epoch(run) for run in runs]
    show({"runs": rows}, _figures(rows), as_json=as_json)
    where = runs[0].path if seeds is None else runs[0].path.parent
    again = [] if imported is None else ["--import", str(imported)]
    note(f"next: {shlex.join(['mien', 'evaluate', str(where), *again])}")


def _short(given: Mapping[str, str | None]) -> list[str]:
    """Short options as overrides; errors in them then read like errors in --set."""
    return [f"{name}={value}" for name, value in given.items() if value is not None]


@app.command()
def teach(
    teachers: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run folders, folders of seeds, or model files."),
    ],
    recipe: Annotated[str, typer.Option("--for", metavar="RECIPE", help="The student's recipe.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the soft targets.")],
    data: options.Data = "synthetic",
    views: Annotated[
        int, typer.Option(metavar="N", help="Views of each face; the epochs use them in turn.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the views.")] = 0,
    overrides: options.Overrides = None,
    exclude: options.Exclude = None,
    skip_damaged: options.SkipDamaged = False,
    imported: options.Import = None,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Write the answers of trained networks for views of the training faces, as a student's targets.

    Views in --out are kept, so the same command resumes an interrupted one.
    """
    with counting("asking the teachers") as progress:
        teaching = api.teach(
            teachers,
            recipe,
            data,
            out=out,
            views=views,
            seed=seed,
            overrides=overrides or [],
            labels=labels,
            exclude=exclude,
            skip_damaged=skip_damaged,
            device=device,
            imported=imported,
            progress=progress,
            command=command_line(),
        )
    about = facts(("soft targets", str(teaching.path)), ("views of each face", str(teaching.views)))
    show({"teaching": str(teaching.path), "views": teaching.views}, about, as_json=as_json)
    again = [] if imported is None else ["--import", str(imported)]
    again += [part for one in overrides or [] for part in ("--set", one)]
    again += [] if labels is None else ["--labels", labels]
    again += [] if exclude is None else ["--exclude", str(exclude)]
    again += ["--skip-damaged"] if skip_damaged else []
    student = ["mien", "train", recipe, "--data", data, "--set", f"targets.teacher={out}", *again]
    note(f"next: {shlex.join(student)}")


def _figures(rows: Sequence[dict[str, Any]]) -> Table:
    """A table of the kept epochs, with a column for each run, and mean ± sd of several runs."""
    from mien.evaluation import over_seeds
    from mien.pages import summary_text

    figures = table("", *(Path(row["run"]).name for row in rows))
    if len(rows) > 1:
        figures.add_column("mean ± sd", justify="right")

    def add(name: str, key: str, write: Callable[[float], str], summed: bool = True) -> None:
        values = [row[key] for row in rows]
        mean = [summary_text(name, over_seeds(values)) if summed else ""] if len(rows) > 1 else []
        figures.add_row(name, *map(write, values), *mean)

    add("epochs", "epochs", str, summed=False)
    add("kept epoch", "best_epoch", str, summed=False)
    add("training accuracy", "train_accuracy", "{:.2%}".format)
    add("validation accuracy", "validation_accuracy", "{:.2%}".format)
    add("overfitting gap", "gap", "{:.2%}".format)
    add("minutes", "seconds", lambda seconds: f"{seconds / 60:.1f}", summed=False)
    return figures


def _best_epoch(run: RunFolder) -> dict[str, Any]:
    """The figures of the epoch whose weights were kept."""
    best = run.kept_epoch()
    figures = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "gap")
    return {
        "run": str(run.path),
        "epochs": len(run.history()),
        "best_epoch": int(best["epoch"]),
        **{name: best[name] for name in figures},
        "seconds": run.seconds(),
    }


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show all of one recipe.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the recipes with costs and scores, or show one: its evidence, and all fields for --set."""
    from mien import recipes as known

    if name is not None:
        from mien.evaluation.text import flatten
        from mien.training import to_dict

        content, entry = to_dict(known.find(name)), known.entry(name)
        published = entry.published.figures()
        fields = flatten(content | ({"published": published} if published else {}))
        shown = Group(Text(entry.evidence), Text(), facts(*fields))
        said = {"evidence": entry.evidence, "system": entry.system, "published": published}
        show({"recipe": content, **said}, shown, as_json=as_json)
        return
    rows = [_recipe_row(name) for name in known.names()]
    listing = facts(*((row["name"], Text(row["summary"])) for row in rows))
    show({"recipes": rows}, Stack(listing, Text(), _side_by_side(rows)), as_json=as_json)


def _recipe_row(name: str) -> dict[str, Any]:
    """A recipe's summary: the size of its network, and its measured scores if there are any."""
    from mien import models as networks
    from mien import recipes as known

    recipe, measured = known.find(name), known.MEASURED.get(name)
    cost = networks.cost(recipe.model.name, recipe.input, options=recipe.model.options)
    return {
        "name": name,
        "system": known.entry(name).system,
        "summary": known.evidence(name).partition("\n")[0],
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "measured": measured and asdict(measured),
    }


_MEASURED = (
    "minutes of one training on FER-2013, and mean accuracy over seeds in single view; empty: not trained "
    "in full in this form. For details: mien recipes NAME"
)


def _side_by_side(rows: Sequence[dict[str, Any]]) -> Table:
    """A table of the recipes' costs and scores, with a line for each."""
    made = table(
        "recipe",
        "parameters",
        "multiply-adds",
        "minutes",
        "cores",
        "PrivateTest",
        caption=_MEASURED,
    )
    for row in rows:
        found = row["measured"]
        told: list[str] = []
        if found:
            told = [str(found["minutes"]), str(found["cores"]), f"{found['accuracy']:.2%}"]
        costs = f"{row['parameters']:,}", f"{row['multiply_adds'] / 1e6:,.1f} M"
        made.add_row(row["name"], *costs, *told)
    return made


@app.command()
def models(
    in_package: Annotated[
        bool,
        typer.Option(
            "--packaged", help="List the trained models in the package instead, for --model."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the networks with their parameters, multiply-adds and input."""
    if in_package:
        _packaged(as_json=as_json)
        return
    from mien import models as known

    rows = []
    listing = table("model", "input", "parameters", "multiply-adds")
    for name in known.names():
        entry, cost = known.entry(name), known.cost(name)
        rows.append(
            {
                "name": name,
                "input": list(entry.input.shape),
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "summary": entry.summary,
            }
        )
        listing.add_row(
            name,
            "x".join(map(str, entry.input.shape)),
            f"{cost.parameters:,}",
            f"{cost.multiply_adds / 1e6:,.1f} M",
        )
    show({"models": rows}, listing, as_json=as_json)


def _packaged(*, as_json: bool) -> None:
    """List the trained models in the package, with the accuracy on their cards."""
    from mien.recognise.naming import packaged

    rows = []
    listing = table("model", "size", "accuracy", "right by", "faces", words=(0, 3))
    for one in packaged():
        scores = one.card.scores["validation"]
        judged = scores.get("majority", scores)
        judge = "labels" if judged is scores else "majority of annotators"
        rows.append(
            {
                "name": one.name,
                "bytes": one.size,
                "digest": one.card.digest,
                "licence": one.card.licence,
                "validation": {
                    "accuracy": judged["accuracy"],
                    "faces": judged["faces"],
                    "judge": judge,
                },
            }
        )
        listing.add_row(
            one.name,
            f"{one.size / 1e6:.1f} MB",
            f"{judged['accuracy']:.1%}",
            judge,
            f"{judged['faces']:,} validation",
        )
    show({"packaged": rows}, listing, as_json=as_json)
