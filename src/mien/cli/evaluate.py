"""mien evaluate, compare: scores, and runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from mien import api
from mien.cli import options
from mien.cli.output import command_line, counting, note, show
from mien.errors import InputError
from mien.runs import RunFolder

app = typer.Typer()


@app.command()
def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, folders of seeds, model files (.onnx) or names of models.",
        ),
    ],
    data: options.OwnData = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="validation, test, official-validation, train; or all, of other data than it was "
            "trained on. By default validation, but all where other data tell no splits."
        ),
    ] = None,
    tta: Annotated[str, typer.Option(help="Test-time views: none, flip or ten.")] = "flip",
    mapping: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="A=B,C=",
            help="Classes of other data = expressions of the network; nothing on the right leaves a "
            "class out. Classes of the same name need not be given.",
        ),
    ] = None,
    votes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="FER+'s fer2013new.csv: compare with its annotators too."
        ),
    ] = None,
    as_ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Also score the mean of all their probabilities.")
    ] = False,
    exclude: options.Exclude = None,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions", help="Score faces made worse in 15 ways instead, at 5 severities each."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Of a model file: the folder of its report; by default NAME-report beside the file.",
        ),
    ] = None,
    skip_damaged: options.SkipDamaged = False,
    imported: options.Import = None,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Score runs on a split, with and without copies of training faces; writes their reports.

    A model file is scored too, without torch; a run's report is in its folder, a model file's in --out.
    With --exclude figures are shown and nothing is written: reports are of whole splits.

    Other data than it was trained on are scored over the expressions that they
    share with the network: your own faces in class folders, say, as
    `mien data prepare PHOTOS --crop faces` cuts them out. No other split is needed.
    """
    from mien.evaluation import ensemble
    from mien.pages import render_summary, render_table

    subjects = [one for given in runs for one in _each(given)]
    names = [str(one.path) if isinstance(one, RunFolder) else one for one in subjects]
    if out is not None and len(subjects) > 1:
        raise InputError("--out is the folder of one report: give one model file")
    if corruptions:
        if exclude is not None or as_ensemble or mapping is not None:
            raise InputError(
                "--corruptions scores single runs on whole splits: leave --exclude, --ensemble and --map away"
            )
        _corrupt(subjects, data, split, votes, device, labels, out, imported, as_json=as_json)
        return
    evaluations = [
        api.evaluate(
            subject,
            data,
            split,
            tta=tta,
            exclude=exclude,
            mapping=mapping,
            votes=votes,
            labels=options.names(labels),
            skip_damaged=skip_damaged,
            imported=imported,
            device=device,
            out=out,
            command=command_line(),
        )
        for subject in subjects
    ]
    parts: list[RenderableType] = [render_table(evaluation) for evaluation in evaluations]
    if len(evaluations) > 1:
        parts.append(Group(render_summary(evaluations)))
    content: dict[str, Any] = {
        "evaluations": [
            {"run": name, **evaluation.to_dict()}
            for name, evaluation in zip(names, evaluations, strict=True)
        ]
    }
    if as_ensemble:
        together = ensemble(evaluations)
        parts += [Text(f"ensemble of {len(evaluations)}", style="bold"), render_table(together)]
        content["ensemble"] = together.to_dict()
    show(content, Group(*parts), as_json=as_json)
    for name in names if exclude is None else []:
        _say_page("report", name, out, "report.html")


def _each(given: str) -> Sequence[str | RunFolder]:
    """A model, a run, or the runs of a folder of seeds."""
    return [given] if api.is_model_file(given) else RunFolder.expand(given)


def _say_page(what: str, name: str, out: Path | None, file: str) -> None:
    """Where the page of a run or a model is; or what is missing for one."""
    folder = api.report_folder(name, out) if api.is_model_file(name) else Path(name)
    page = folder / file
    if page.is_file():
        note(f"{what}: {page}")
    else:
        note(f"written: {folder}; a page of it needs the extra: pip install 'mien[report]'")


def _corrupt(
    subjects: Sequence[str | RunFolder],
    data: str | None,
    split: str | None,
    votes: Path | None,
    device: str,
    labels: str | None,
    out: Path | None,
    imported: Path | None,
    *,
    as_json: bool,
) -> None:
    """Score runs on corrupted faces."""
    from mien.pages import render_robustness

    names = [str(one.path) if isinstance(one, RunFolder) else one for one in subjects]
    found = []
    for subject, name in zip(subjects, names, strict=True):
        with counting(f"corrupting for {Path(name).name}") as progress:
            found.append(
                api.evaluate_corrupted(
                    subject,
                    data,
                    split,
                    votes=votes,
                    labels=options.names(labels),
                    imported=imported,
                    device=device,
                    out=out,
                    progress=progress,
                    command=command_line(),
                )
            )
    content = [{"run": name, **one.to_dict()} for name, one in zip(names, found, strict=True)]
    tables = Group(*(render_robustness(one) for one in found))
    show({"corruptions": content}, tables, as_json=as_json)
    for name, one in zip(names, found, strict=True):
        _say_page("page", name, out, f"{one.file_name}.html")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    split: Annotated[
        str, typer.Option(help="validation, test or official-validation.")
    ] = "validation",
    out: Annotated[Path, typer.Option(help="Folder of compare.html.")] = Path("comparison"),
    as_json: options.Json = False,
) -> None:
    """Put evaluated runs side by side: table, curves, McNemar and paired bootstrap."""
    from mien.evaluation import compare as compare_runs
    from mien.pages import render_comparison, write_comparison

    comparison = compare_runs(runs, split)
    page = write_comparison(comparison, out)
    show(comparison.to_dict(), render_comparison(comparison), as_json=as_json)
    note(f"page: {page}")
