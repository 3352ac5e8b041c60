"""mien export, card and export-web: a run as one model file, its card, and a web page with a model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mien import api
from mien.cli import options
from mien.cli.output import show
from mien.errors import InputError, quantity
from mien.evaluation.calibration import SURE_SHARE
from mien.runs import RunFolder
from mien.terminal import facts, note

if TYPE_CHECKING:
    from mien.card import Limits
    from mien.exporting import Exported

app = typer.Typer()


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE.onnx", help="The model file.")],
    data: options.OwnData = None,
    float16: Annotated[
        bool, typer.Option("--float16", help="Store the weights in 16 bits: half the size.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits: a quarter of the size, and faster.")
    ] = False,
    max_drop: Annotated[
        float,
        typer.Option(
            metavar="POINTS",
            help="Refuse a smaller file that loses more accuracy, in percentage points.",
        ),
    ] = 0.5,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of the weights, for the card.")
    ] = None,
    name: options.ModelName = None,
    votes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="FER+'s fer2013new.csv: fit to its majority votes instead of the labels.",
        ),
    ] = None,
    imported: options.Import = None,
    labels: options.Labels = None,
    as_json: options.Json = False,
) -> None:
    """Write a run as one ONNX file with preprocessing, calibration and card, checked against torch.

    Temperature, the threshold of `uncertain` and its limits (such as size, spread, turn and detection
    score) are fitted on the run's validation faces, so that at least 92 % of the certain answers are
    right.
    """
    if float16 and int8:
        raise InputError("--float16 and --int8 exclude each other: give one of them")
    made = api.export(
        run,
        out,
        data=data,
        weights="float16" if float16 else "int8" if int8 else "float32",
        max_drop=max_drop,
        licence=licence,
        name=name,
        votes=votes,
        labels=labels,
        imported=imported,
    )
    show(made.to_dict(), _figures(made), as_json=as_json)
    note(f"next: mien evaluate {shlex.quote(str(out))} --data PATH")


def _figures(made: Exported) -> Table:
    """A table of the fitted values, the checks and the measurements."""
    card = made.card
    scores, parity = card.scores["validation"], card.parity["float32"]
    before, doubted = scores["before_temperature"], scores["uncertain"]
    # Scores by votes, if temperature and threshold were fitted to them.
    judged = scores.get("majority", scores)
    rows = facts()
    rows.add_row("model file", f"{made.path} ({made.size / 1e6:.2f} MB)")
    rows.add_row(
        "validation",
        f"{scores['accuracy']:.2%} of {quantity(scores['faces'], 'face')}, single view",
    )
    if judged is not scores:
        rows.add_row(
            "majority of votes",
            f"{judged['accuracy']:.2%} of {quantity(judged['faces'], 'validation face')}, balanced "
            f"{judged['balanced_accuracy']:.2%}; the figures below are by the majority",
        )
    tested = card.scores.get("test_of_the_run")
    rows.add_row(
        "test",
        f"{tested['official_accuracy']:.2%}, as the run was evaluated"
        if tested
        else "not in the card; to add it: mien evaluate RUN --split test (on the training's data), then export again",
    )
    rows.add_row(
        "temperature",
        f"{card.temperature:.3f}: cross-entropy {before['cross_entropy']:.4f} -> "
        f"{judged['cross_entropy']:.4f}, calibration error {before['calibration_error']:.2%} -> "
        f"{judged['calibration_error']:.2%}",
    )
    if card.offsets:
        added = ", ".join(map("{} {:+.2f}".format, card.expressions, card.offsets))
        rows.add_row(
            "offsets", f"{added}: training favours rare expressions, half of this is undone"
        )
    answered = 1 - doubted["share"]
    few = "" if answered >= SURE_SHARE else f"; {SURE_SHARE:.0%} were to be answered"
    if not answered:
        few = "; so each answer of this file will be uncertain"
    rows.add_row(
        "uncertain below",
        f"{card.uncertain_below:.3f}: {doubted['share']:.1%} of {quantity(doubted['faces'], 'face')} by the "
        f"{doubted['judge']}, right on {_share(doubted['accuracy'])} of them and on "
        f"{_share(doubted['accuracy_of_others'])} of the others{few}",
    )
    rows.add_row("uncertain too", f"faces {_limits(card.uncertain_beyond)}")
    rows.add_row(
        "parity with torch",
        f"logits within {parity['logits']:.1e}, probabilities within {parity['probabilities']:.1e} "
        f"on {quantity(parity['faces'], 'face')}",
    )
    for kind in made.speeds.keys() - {"float32"}:
        small = card.parity[kind]
        rows.add_row(
            kind,
            f"{small['drop_in_points']:+.2f} points lost, the same answer on {small['same_answer']:.1%}; "
            f"{made.speeds[kind]:,.0f} faces/s on one thread, float32 {made.speeds['float32']:,.0f}",
        )
    return rows


def _limits(limits: Limits) -> str:
    """The limits beyond which a face is uncertain, in words."""
    told = {
        "under {:g} pixels a side": limits.size,
        "of a spread under {:g} gray levels": limits.spread,
        "of less detail than {:g}": limits.detail,
        "of more than {:g} (noise)": limits.noise,
        "turned by more than {:g} degrees": None if limits.turn == 180 else limits.turn,
        "that YuNet gives a score under {:g}": limits.detection_score,
    }
    return ", ".join(words.format(limit) for words, limit in told.items() if limit is not None)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


@app.command()
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to; by default the run's.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of the weights.")
    ] = None,
    name: options.ModelName = None,
    as_json: options.Json = False,
) -> None:
    """Write a run's model card as Markdown and HTML: purpose, data, scores, failures, legal notes."""
    from mien.pages import write_card

    if api.is_model_file(run):
        raise InputError(f"{run}: a card is written from a run; give the run folder of this model")
    folder = RunFolder.open(run)
    files = write_card(folder, out or folder.path, licence=licence, name=name)
    written = facts(("card", str(files.markdown)), ("page", str(files.html)))
    content = {"markdown": str(files.markdown), "html": str(files.html)}
    show(content, written, as_json=as_json)
    note("read and complete it before you publish the network: it has only what the run knows")


@app.command("export-web")
def export_web(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the site.")],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A model file, a run folder or a name; by default the packaged model.",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="npm's onnxruntime-web, packed or unpacked; by default it is downloaded, once.",
        ),
    ] = None,
    card: options.CardPage = None,
    as_json: options.Json = False,
) -> None:
    """Write the web page as a static site: recognition runs in the browser, and pictures never leave it."""
    from mien.serving import web_export

    made = web_export.export_web(out, model, runtime=runtime, card_page=card, say=note)
    rows = facts(
        ("site", f"{made.path} ({made.size / 1e6:.1f} MB)"),
        ("model", f"{made.card.name} ({made.card.digest[:12]})"),
        ("runtime", f"onnxruntime-web {web_export.RUNTIME}"),
    )
    show(made.to_dict(), rows, as_json=as_json)
    note(f"next: python -m http.server --bind 127.0.0.1 -d {out}, or put it on any static host")
