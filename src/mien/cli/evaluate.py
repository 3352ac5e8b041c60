"""mien evaluate and compare: score runs, and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from mien import api
from mien.cli import options
from mien.cli.output import command_line, show
from mien.errors import InputError, install_command
from mien.runs import RunFolder
from mien.terminal import counting, note

if TYPE_CHECKING:
    from mien.evaluation import Evaluation

app = typer.Typer()


Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Run folders, folders of seeds, model files (.onnx) or names of models.",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help=(
            "validation, test, official-validation or train; for other data than the training "
            "data also all. By default validation, but all for other data without splits."
        )
    ),
]
Tta = Annotated[
    str, typer.Option(metavar="NAME", help="Views of test-time augmentation: none, flip or ten.")
]
ClassMap = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="A=B,C=",
        help=(
            "Classes of other data = expressions of the network; an empty right side leaves a "
            "class out. Not needed for classes of the same name."
        ),
    ),
]
Votes = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="FER+'s fer2013new.csv: also compare with its annotators."),
]
AsEnsemble = Annotated[
    bool, typer.Option("--ensemble", help="Also score the mean of all runs' probabilities.")
]
Corruptions = Annotated[
    bool,
    typer.Option(
        "--corruptions", help="Score corrupted faces instead: 15 kinds, 5 severities each."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="For a model file: folder of its report; by default NAME-report beside the file.",
    ),
]


@app.command()
def evaluate(
    runs: Runs,
    data: options.OwnData = None,
    split: Split = None,
    tta: Tta = "flip",
    mapping: ClassMap = None,
    votes: Votes = None,
    as_ensemble: AsEnsemble = False,
    exclude: options.Exclude = None,
    corruptions: Corruptions = False,
    out: Out = None,
    skip_damaged: options.SkipDamaged = False,
    imported: options.Import = None,
    device: options.Device = "auto",
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Score runs on a split, with and without copies of training faces, and write reports.

    Model files can be scored as well, without torch. A run's report is in its folder, a model file's
    in --out. With --exclude nothing is written: reports are about whole splits.

    Other data than the training data are scored over the expressions that both have: for example
    your own faces in class folders, cropped by `mien data prepare PHOTOS --crop faces`. They need no
    splits.
    """
    subjects = [one for given in runs for one in _each(given)]
    names = [str(one.path) if isinstance(one, RunFolder) else one for one in subjects]
    if out is not None and len(subjects) > 1:
        raise InputError("--out is the folder of one report: give one model file")
    if as_ensemble:
        from mien.evaluation import check_members

        check_members(len(subjects))
    if corruptions and (exclude is not None or as_ensemble or mapping is not None):
        raise InputError(
            "--corruptions scores single runs on whole splits: leave out --exclude, --ensemble and --map"
        )
    settings: dict[str, Any] = {
        "data": data,
        "split": split,
        "votes": votes,
        "labels": labels,
        "skip_damaged": skip_damaged,
        "imported": imported,
        "device": device,
        "out": out,
        "command": command_line(),
    }
    if corruptions:
        _corrupt(subjects, names, settings, as_json=as_json)
        return
    settings |= {"tta": tta, "exclude": exclude, "mapping": mapping}
    evaluations = []
    for subject, name in zip(subjects, names, strict=True):
        with counting(f"scoring {Path(name).name}") as progress:
            evaluations.append(api.evaluate(subject, **settings, progress=progress))
    _show(names, evaluations, as_ensemble=as_ensemble, as_json=as_json)
    for name in names if exclude is None else []:
        _say_page("report", name, out, "report.html")


def _show(
    names: Sequence[str], evaluations: Sequence[Evaluation], *, as_ensemble: bool, as_json: bool
) -> None:
    """Show a table for each evaluation, and a summary of several."""
    from mien.evaluation import ensemble
    from mien.pages import render_summary, render_table

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


def _each(given: str) -> Sequence[str | RunFolder]:
    """The subjects of one argument: a model, a run, or the runs of a folder of seeds."""
    return [given] if api.is_model_file(given) else RunFolder.expand(given)


def _say_page(what: str, name: str, out: Path | None, file: str) -> None:
    """Print the path of a run's or model's page, or the missing extra if there is no page."""
    folder = api.report_folder(name, out) if api.is_model_file(name) else Path(name)
    page = folder / file
    if page.is_file():
        note(f"{what}: {page}")
    else:
        note(f"written: {folder}; a page of it needs the extra: {install_command('report')}")


def _corrupt(
    subjects: Sequence[str | RunFolder],
    names: Sequence[str],
    settings: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Score runs on corrupted faces, and show the results."""
    from mien.pages import render_robustness

    found = []
    for subject, name in zip(subjects, names, strict=True):
        with counting(f"corrupting for {Path(name).name}") as progress:
            found.append(api.evaluate_corrupted(subject, **settings, progress=progress))
    content = [{"run": name, **one.to_dict()} for name, one in zip(names, found, strict=True)]
    tables = Group(*(render_robustness(one) for one in found))
    show({"corruptions": content}, tables, as_json=as_json)
    for name, one in zip(names, found, strict=True):
        _say_page("page", name, settings["out"], f"{one.file_name}.html")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders.")],
    split: Annotated[
        str, typer.Option(metavar="NAME", help="validation, test or official-validation.")
    ] = "validation",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for compare.html.")] = Path(
        "comparison"
    ),
    as_json: options.Json = False,
) -> None:
    """Compare evaluated runs: table, curves, McNemar's test and paired bootstrap."""
    from mien.evaluation import compare as compare_runs
    from mien.pages import render_comparison, write_comparison

    comparison = compare_runs(runs, split)
    page = write_comparison(comparison, out)
    show(comparison.to_dict(), render_comparison(comparison), as_json=as_json)
    note(f"page: {page}")
