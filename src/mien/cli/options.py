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
        "--data", "-d", metavar="PATH", help="As for `mien train`; by default what RUN trained on."
    ),
]
Labels = Annotated[
    str | None,
    typer.Option("--labels", metavar="A,B,C", help="The label set, if not the usual seven."),
]
SkipDamaged = Annotated[
    bool,
    typer.Option(
        "--skip-damaged", help="Leave out pictures that cannot be decoded: counted and listed."
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Leave out the faces of this list, one that `mien data audit` wrote."
    ),
]
Votes = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="FER+'s fer2013new.csv: what annotators say of the labels."),
]
CardPage = Annotated[
    Path | None,
    typer.Option(
        "--card",
        metavar="FILE.html",
        help="The model's card as `mien card` wrote it, which the page then links to.",
    ),
]
Import = Annotated[
    Path | None,
    typer.Option(
        "--import",
        metavar="FILE.py",
        help="A file of your own that registers networks: it is run. Its runs need it again.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Run = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run folder, a folder of seeds, or a model file (.onnx)."),
]


def names(labels: str | None) -> list[str] | None:
    """The label set as typed, split at commas."""
    return labels.split(",") if labels is not None else None
