"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="See `mien recipes`; or a recipe's file (.json)."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change any field (`mien recipes RECIPE` lists them); can be repeated.",
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="PATH",
        help="fer2013.csv, icml_face_data.csv, .csv.gz, fer2013.tar.gz, parquet, class folders, a "
        "zip or a folder of these; or synthetic[:N].",
    ),
]
OwnData = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        metavar="PATH",
        help="As for `mien train`; by default the training data of RUN.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option("--labels", metavar="A,B,C", help="The label set, if not the seven of FER-2013."),
]
SkipDamaged = Annotated[
    bool,
    typer.Option(
        "--skip-damaged", help="Leave out pictures that cannot be decoded; count and list them."
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Leave out the faces of a list that `mien data audit` wrote."
    ),
]
Votes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="FER+'s fer2013new.csv: check the labels by the annotators' votes."
    ),
]
CardPage = Annotated[
    Path | None,
    typer.Option(
        "--card",
        metavar="FILE.html",
        help="The model's card, written by `mien card`, for a link on the page.",
    ),
]
Import = Annotated[
    Path | None,
    typer.Option(
        "--import",
        metavar="FILE.py",
        help="Run your Python file, which registers networks. Commands on its runs need it again.",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--name", metavar="TEXT", help="Of the model, in its card; else the recipe's."),
]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
