"""A sweep for people: the page with its figures, the best recipe as a file, and the terminal's table."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from mien.evaluation.pages import draw, write_page
from mien.evaluation.text import duration, figure_text
from mien.files import write_json
from mien.recipe import to_dict
from mien.runs import RunFolder
from mien.studies import sweep_figures
from mien.studies.sweep_result import Sweep, Tried
from mien.terminal import table

EXPLANATION = (
    "Accuracy is that of the kept weights on the validation faces; of a pruned trial it is the last before "
    "it was stopped. The best of many trials is best partly by luck: its validation accuracy flatters it. "
    "Train it with several seeds, and read its test score once."
)
#: Trials that the terminal shows.
_SHOWN = 10


def write_sweep(found: Sweep) -> Path:
    """Write sweep.html, its pictures, sweep.json and best.json into the folder; the page."""
    best = found.best
    if best is not None:
        write_json(found.best_path, to_dict(RunFolder(Path(best.run)).recipe()))
    write_json(found.out / "sweep.json", found.to_dict())
    drawings = _drawings(found)
    return write_page(
        found.out / "sweep.html",
        "sweep.html.j2",
        title=f"A sweep of {found.recipe.name}",
        best=None if best is None else _percent(best),
        best_settings=[]
        if best is None
        else [(name, _written(v)) for name, v in best.settings.items()],
        tiles=_tiles(found),
        explanation=EXPLANATION,
        drawings=drawings,
        head=("trial", "state", "validation", "epochs", "time", *_names(found)),
        rows=[_row(trial, found) for trial in _in_order(found)],
        problems=[(f"trial {t.number}", t.problem) for t in found.trials if t.problem],
        commands=[command for command in (found.command, next_command(found)) if command],
    )


def render_sweep(found: Sweep) -> Group:
    """The best trials, for the terminal."""
    rows = table("trial", "validation", "epochs", *_names(found))
    for trial in _in_order(found)[:_SHOWN]:
        mark = "" if trial.state == "complete" else f" {trial.state}"
        settings = [_written(trial.settings.get(name, "-")) for name in _names(found)]
        rows.add_row(f"{trial.number}{mark}", _percent(trial), str(trial.epochs), *settings)
    parts: list[Any] = [rows]
    if found.importance:
        said = ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items())
        parts.append(Text(f"importance: {said}"))
    return Group(*parts)


def _drawings(found: Sweep) -> list[Any]:
    if not any(trial.accuracy is not None for trial in found.trials):
        return []
    drawn = [
        draw(
            sweep_figures.parallel(found),
            found.out,
            "sweep-parallel",
            f"Settings and validation accuracy of {len(found.trials)} trials, a line a trial",
        ),
        draw(
            sweep_figures.history(found),
            found.out,
            "sweep-history",
            "Validation accuracy of each trial in the order they began, and the best so far",
        ),
    ]
    if found.importance:
        drawn.append(
            draw(
                sweep_figures.importance(found),
                found.out,
                "sweep-importance",
                "Importance of each setting: "
                + ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items()),
            )
        )
    return drawn


def _tiles(found: Sweep) -> list[dict[str, str]]:
    def count(state: str) -> str:
        return str(sum(trial.state == state for trial in found.trials))

    tiles = [
        ("complete", count("complete"), f"of {len(found.trials)} trials"),
        ("pruned", count("pruned"), "stopped as others did better"),
        ("failed", count("failed"), "could not be trained"),
        (
            "trained for",
            duration(sum(trial.seconds for trial in found.trials)),
            "all trials together",
        ),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _in_order(found: Sweep) -> list[Tried]:
    """The best first, complete ones before the others."""
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
    """What trains the best recipe for good."""
    if found.best is None:
        return None
    data = [] if found.data is None else ["--data", found.data]
    return shlex.join(["mien", "train", str(found.best_path), *data, "--seeds", "0-2"])
