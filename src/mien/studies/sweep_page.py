"""The report of a sweep: the page with its figures, the best recipe as a file, and the table in the terminal."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from mien.errors import quantity
from mien.evaluation.text import duration, figure_text
from mien.files import write_json
from mien.pages import blocks
from mien.pages.render import as_terminal, draw, write
from mien.recipe import to_dict
from mien.runs import RunFolder
from mien.studies import sweep_figures
from mien.studies.sweep_result import Sweep, Tried
from mien.terminal import Stack

EXPLANATION = (
    "Accuracy is that of the kept weights on the validation faces; of a pruned trial it is the last before "
    "it was stopped. The best of many trials is best partly by luck: its validation accuracy flatters it. "
    "Train it with several seeds, and read its test score once."
)
#: Number of trials that the terminal shows.
_SHOWN = 10


def write_sweep(found: Sweep) -> Path:
    """Write sweep.html, its pictures, sweep.json and, if a trial was completed, best.json into the folder.

    Returns:
        The path of sweep.html.
    """
    best = found.best
    if best is not None:
        write_json(found.best_path, to_dict(RunFolder(Path(best.run)).recipe()))
    write_json(found.out / "sweep.json", found.to_dict())
    rows = [_row(trial, found) for trial in _in_order(found)]
    head = ["trial", "state", "validation", "epochs", "time", *_names(found)]
    problems = [(f"trial {t.number}", t.problem) for t in found.trials if t.problem]
    parts = [
        _headline(best),
        blocks.Tiles(_tiles(found)),
        *_drawings(found),
        *blocks.section("The trials", blocks.Table(head, rows, words=2), said=EXPLANATION),
        *blocks.section("Failed trials", blocks.Facts(problems)),
        *blocks.commands(
            [found.command, next_command(found)], "How this was made, and the next step"
        ),
    ]
    return write(blocks.Page(f"A sweep of {found.recipe.name}", parts), found.out / "sweep.html")


def render_sweep(found: Sweep) -> Stack:
    """Render the best trials for the terminal."""
    rows = []
    for trial in _in_order(found)[:_SHOWN]:
        mark = "" if trial.state == "complete" else f" {trial.state}"
        settings = [_written(trial.settings.get(name, "-")) for name in _names(found)]
        rows.append([f"{trial.number}{mark}", _percent(trial), str(trial.epochs), *settings])
    shown = blocks.Table(["trial", "validation", "epochs", *_names(found)], rows)
    said = [blocks.Text(f"importance: {_importance(found)}")] if found.importance else []
    return as_terminal(shown, *said)


def _headline(best: Tried | None) -> blocks.Headline:
    if best is None:
        return blocks.Headline("", "No trial was completed yet.")
    settings = [(name, _written(value)) for name, value in best.settings.items()]
    return blocks.Headline(
        _percent(best), "of the validation faces, by the best trial", [blocks.Facts(settings)]
    )


def _importance(found: Sweep) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items())


def _drawings(found: Sweep) -> list[blocks.Block]:
    if not any(trial.accuracy is not None for trial in found.trials):
        return []
    lines = f"Settings and validation accuracy of {quantity(len(found.trials), 'trial')}, a line a trial"
    order = "Validation accuracy of each trial in the order they began, and the best so far"
    parallel = draw(sweep_figures.parallel(found), found.out, "sweep-parallel", lines, "wide")
    pair = [draw(sweep_figures.history(found), found.out, "sweep-history", order)]
    if found.importance:
        said = f"Importance of each setting: {_importance(found)}"
        pair.append(draw(sweep_figures.importance(found), found.out, "sweep-importance", said))
    return [parallel, blocks.Columns(pair)]


def _tiles(found: Sweep) -> list[tuple[str, str, str]]:
    def count(state: str) -> str:
        return str(sum(trial.state == state for trial in found.trials))

    return [
        ("complete", count("complete"), f"of {quantity(len(found.trials), 'trial')}"),
        ("pruned", count("pruned"), "stopped as others did better"),
        ("failed", count("failed"), "could not be trained"),
        (
            "trained for",
            duration(sum(trial.seconds for trial in found.trials)),
            "all trials together",
        ),
    ]


def _in_order(found: Sweep) -> list[Tried]:
    """Sort the trials: complete ones first, then by accuracy."""
    return sorted(
        found.trials,
        key=lambda trial: (trial.state != "complete", -(trial.accuracy or 0), trial.number),
    )


def _names(found: Sweep) -> list[str]:
    return [dimension.name for dimension in found.space]


def _row(trial: Tried, found: Sweep) -> list[str]:
    return [
        str(trial.number),
        trial.state,
        _percent(trial),
        str(trial.epochs),
        duration(trial.seconds),
        *(_written(trial.settings.get(name, "-")) for name in _names(found)),
    ]


def _percent(trial: Tried) -> str:
    return figure_text("accuracy", trial.accuracy)


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def next_command(found: Sweep) -> str | None:
    """The command that trains the best recipe with three seeds; None if no trial was completed."""
    if found.best is None:
        return None
    data = [] if found.data is None else ["--data", found.data]
    return shlex.join(["mien", "train", str(found.best_path), *data, "--seeds", "0-2"])
