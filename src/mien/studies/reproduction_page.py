"""The report of a reproduction: the page, the same tables as Markdown, and the table in the terminal."""

from __future__ import annotations

from pathlib import Path

from mien import recipes
from mien.evaluation.summary import MeanSd
from mien.evaluation.text import IN_NATS, duration, interval_text
from mien.files import write_json
from mien.pages import blocks, plots_of_runs
from mien.pages.render import as_terminal, draw, write
from mien.pages.tables import summary_text
from mien.studies.reproduction import (
    CHANGED,
    FAILED,
    FULL,
    NOT_RUN,
    OTHER_FACES,
    SHORTENED,
    UNFINISHED,
    Beside,
    Reproduction,
    Row,
    total_seconds,
)
from mien.terminal import Stack

TITLE = "Reference systems: published and ours"
EXPLANATION = (
    "Ours is the single view of the weights kept by the recipe's own rule, ± one standard deviation over "
    "seeds. The interval is 95 % over faces, averaged over seeds: how far another draw of as many faces "
    "would move the score, not how far another training would. The gap's takes the training accuracy "
    "as it is. Training figures are running means over an epoch, with augmentation and dropout on. "
    "Differences, in points or nats, stand only where the recipe was trained as it is, in full, on as many "
    "faces as its system used."
)
PROTOCOL = (
    "Every recipe under one protocol: accuracy of a single view and of a face with its mirror image; "
    "deduplicated is without the faces that have an exact copy among the training faces. "
    "Which faces are validation and test is the data's say and the recipe's."
)
CURVES = "Dashed: the validation accuracy that is published. Below, the overfitting gap as system D watched it."
COST = "Time is that of training alone, the mean of the seeds; multiply-adds are those of one face's forward pass."
_HEAD = ("recipe", "figure", "published", "ours", "95 % interval", "difference", "published is")
_SCORE_HEAD = ("recipe", "data", "validation", "with flip", "test", "with flip", "deduplicated")
_COST_HEAD = ("recipe", "device", "seeds", "epochs", "a training", "parameters", "multiply-adds")


def write_reproduction(found: Reproduction) -> Path:
    """Write reproduce.json, reproduce.md, reproduce.html and its pictures into the folder.

    Returns:
        The path of reproduce.html.
    """
    write_json(found.folder / "reproduce.json", found.to_dict())
    page = _page(found)
    write(page, found.folder / "reproduce.md")
    return write(page, found.folder / "reproduce.html")


def _page(found: Reproduction) -> blocks.Page:
    commands = [run.environment().get("command") for row in found.rows for run in row.runs]
    beside = blocks.Grouped(_HEAD, [_group(row) for row in found.rows], "ours", "inside")
    scores = blocks.Table(_SCORE_HEAD, _score_rows(found), words=2)
    costs = blocks.Table(_COST_HEAD, _cost_rows(found), words=2)
    parts = [
        _headline(found),
        blocks.Tiles(_tiles(found)),
        *blocks.section("Published and ours", beside, said=EXPLANATION),
        *_training(found),
        *blocks.section("Scores", scores, said=PROTOCOL),
        *blocks.section("Cost", costs, said=COST),
        *blocks.commands(commands),
    ]
    return blocks.Page(TITLE, parts, _subtitle(found))


def render_reproduction(found: Reproduction) -> Stack:
    """Render the most important accuracy of each recipe for the terminal, in 80 columns."""
    rows = []
    for row in found.rows:
        figure, published, ours, _, difference, _ = _cells(row, row.besides[0])
        place = figure.partition(" accuracy")[0]
        said = difference if row.state == FULL else row.state
        rows.append([row.name, place, published, ours, said])
    head = ["recipe", "accuracy", "published", "ours", "difference"]
    return as_terminal(blocks.Table(head, rows, words=2))


def _group(row: Row) -> blocks.Group:
    """A recipe's part of the first table; without runs it has only the most important figure."""
    besides = row.besides if row.runs else row.besides[:1]
    return blocks.Group(
        name=row.name,
        note=f"system {row.system}" if row.system else "",
        state=row.state,
        kind={FULL: "good", FAILED: "bad", NOT_RUN: "none"}.get(row.state, "part"),
        rows=[_cells(row, beside) for beside in besides],
        remarks=[said for said in (row.remark, row.published.note) if said],
    )


def _cells(row: Row, beside: Beside) -> list[str]:
    figure, interval = beside.figure, beside.interval
    place = "-"
    if beside.inside is not None and interval and beside.published is not None:
        above = beside.published > interval[1]
        place = "inside" if beside.inside else "above" if above else "below"
    return [
        _figure_name(row, figure),
        "none stated" if beside.published is None else _published(figure, beside.published),
        _ours(figure, beside.ours),
        "-" if interval is None else interval_text(interval),
        "-" if beside.difference is None else _difference(figure, beside.difference),
        place,
    ]


def _figure_name(row: Row, figure: str) -> str:
    words = figure.replace("best_", "highest ").replace("train_", "training ").replace("_", " ")
    at_end = row.published.epoch == "last" and not figure.startswith(("test_", "best_"))
    return words + (", last epoch" if at_end else "")


def _published(figure: str, value: float) -> str:
    """Write a published value with no more digits than its system states."""
    return f"{value:g}" if figure.endswith("loss") else f"{100 * value:.4g}{_unit(figure)}"


def _ours(figure: str, ours: MeanSd | None) -> str:
    name = IN_NATS if figure.endswith("loss") else "accuracy"
    return summary_text(name, ours).replace(" %", _unit(figure))


def _difference(figure: str, value: float) -> str:
    return f"{value:+.4f}" if figure.endswith("loss") else f"{100 * value:+.2f}"


def _unit(figure: str) -> str:
    return " points" if figure == "gap" else " %"


def _label(row: Row) -> str:
    return row.name if row.state == FULL else f"{row.name}, {row.state}"


def _score_rows(found: Reproduction) -> list[list[str]]:
    rows = []
    for row in found.rows:
        if not row.runs:
            continue
        source, fingerprint = (str(row.data.get(key) or "-") for key in ("source", "fingerprint"))
        scores = [
            row.score("validation", "none", "accuracy"),
            row.score("validation", "flip", "accuracy"),
            row.score("test", "none", "accuracy"),
            row.score("test", "flip", "accuracy"),
            row.score("test", "none", "accuracy", "deduplicated"),
        ]
        data = f"{Path(source).name} {fingerprint[:8]}"
        rows.append([_label(row), data, *(summary_text("accuracy", score) for score in scores)])
    return rows


def _cost_rows(found: Reproduction) -> list[list[str]]:
    return [
        [
            _label(row),
            "; ".join(row.devices),
            ", ".join(map(str, row.seeds)),
            f"{row.epochs.mean:.4g}" if row.epochs else "-",
            duration(row.seconds.mean) if row.seconds else "-",
            f"{row.cost['parameters']:,}" if row.cost else "-",
            f"{row.cost['multiply_adds'] / 1e6:,.1f} M" if row.cost else "-",
        ]
        for row in found.rows
        if row.runs
    ]


def _subtitle(found: Reproduction) -> str:
    trained = [row for row in found.rows if row.runs]
    devices = dict.fromkeys(device for row in trained for device in row.devices)
    runs = sum(len(row.runs) for row in trained)
    return " · ".join([f"{runs} run{'' if runs == 1 else 's'}", *devices])


def _headline(found: Reproduction) -> blocks.Headline:
    recipes_of_systems = recipes.reference_names()
    full = {row.name for row in found.rows if row.state == FULL and row.system}
    judged = [item.inside for row in found.rows for item in row.besides if item.inside is not None]
    inside = (
        "of the figures that have an interval, the published one lies inside: "
        f"**{sum(judged)} of {len(judged)}**"
    )
    return blocks.Headline(
        f"{len(full)} of {len(recipes_of_systems)}",
        "recipes of the reference systems trained in full",
        [blocks.Text(inside, "quiet", marked=True)] if judged else [],
    )


def _tiles(found: Reproduction) -> list[tuple[str, str, str]]:
    def count(*states: str) -> str:
        return str(sum(row.state in states for row in found.rows))

    return [
        ("shortened", count(SHORTENED), "a quick pass, no reproduction"),
        ("otherwise", count(CHANGED, OTHER_FACES), "other settings or other faces"),
        ("unfinished", count(UNFINISHED), "the same command goes on"),
        ("failed, not run", count(FAILED, NOT_RUN), "the table says which"),
        ("trained for", duration(total_seconds(found.rows)), "all runs together"),
    ]


def _training(found: Reproduction) -> list[blocks.Block]:
    """Draw the curves of all runs and their overfitting gaps; nothing before the first epoch."""
    trained: dict[str, Row] = {}
    for row in found.rows:
        if row.histories:
            label, number = _label(row), 1
            while label in trained:  # the same recipe on other data or with other settings
                number += 1
                label = f"{_label(row)} {number}"
            trained[label] = row
    if not trained:
        return []
    histories = {label: row.histories for label, row in trained.items()}
    published = {
        label: value
        for label, row in trained.items()
        if (value := row.published.best_validation_accuracy or row.published.validation_accuracy)
    }
    panels, gaps = plots_of_runs.panels(histories, published), plots_of_runs.gaps(histories)
    of, folder = ", ".join(histories), found.folder
    said = f"Training and validation accuracy by epoch of {of}"
    return blocks.section(
        "Training",
        draw(panels, folder, "reproduce-curves", said, "wide"),
        draw(gaps, folder, "reproduce-gap", f"Overfitting gap by epoch of {of}", "wide"),
        said=CURVES,
    )
