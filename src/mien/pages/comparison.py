"""A comparison of runs: compare.html, and its tables in the terminal."""

from __future__ import annotations

from pathlib import Path

from mien.errors import quantity
from mien.evaluation.compare import VIEW, Comparison
from mien.evaluation.summary import HEADLINES, NEAR, OF_CALIBRATION
from mien.evaluation.text import duration
from mien.files import write_json
from mien.pages import plots
from mien.pages.blocks import Page, Table, section
from mien.pages.render import as_terminal, draw, write
from mien.pages.tables import summary_text
from mien.terminal import Stack

EXPLANATION = (
    "Difference: accuracy of the first minus that of the second on the same faces, in points, "
    "with a 95 % paired bootstrap interval over faces. p: McNemar's exact two-sided test of the "
    "faces that only one of the two got right; for single runs, since several seeds are not one "
    "classifier. It is not corrected for the number of pairs."
)


def render_comparison(comparison: Comparison) -> Stack:
    """Render a comparison for the terminal: the contenders, then the pairs."""
    names, *figures = zip(*_rows(comparison), strict=True)
    contenders = Table(
        ["", *names],
        [[name, *values] for name, values in zip(_HEAD[1:], figures, strict=True)],
        title=f"{comparison.split}: {quantity(comparison.faces, 'face')}, view {VIEW}",
    )
    return as_terminal(contenders, *([_pairs(comparison)] if comparison.pairs else []))


def write_comparison(comparison: Comparison, folder: Path | str) -> Path:
    """Write compare.html, compare.json and compare-curves.png into a folder.

    Returns:
        The path of compare.html.
    """
    folder = Path(folder)
    write_json(folder / "compare.json", comparison.to_dict())
    title = f"{' · '.join(c.name for c in comparison.contenders)}: {comparison.split}"
    about = (
        f"{quantity(comparison.faces, 'face')}, single view; ± is one standard deviation over seeds"
    )
    blocks = section("Scores", Table(_HEAD, _rows(comparison)))
    if histories := {c.name: c.histories for c in comparison.contenders if c.histories}:
        curves, said = plots.overlay(histories), f"Accuracy by epoch of {', '.join(histories)}"
        blocks += section("Training", draw(curves, folder, "compare-curves", said, "medium"))
    blocks += section("Are the differences real?", _pairs(comparison), said=EXPLANATION)
    return write(Page(title, blocks, about), folder / "compare.html")


#: Headlines that fit into a table with mean ± sd; compare.json has all of them.
_COMPARED = tuple(
    name for name in HEADLINES if name not in ("balanced accuracy", NEAR, *OF_CALIBRATION)
)
_HEAD = ["run", "seeds", "epochs", *_COMPARED, "training"]
_PAIR_HEAD = ["first", "second", "difference", "95 % interval", "only first", "only second", "p"]


def _rows(comparison: Comparison) -> list[list[str]]:
    return [
        [
            c.name if c.name == c.recipe else f"{c.name} ({c.recipe})",
            str(len(c.runs)),
            f"{c.epochs.mean:.4g}" if c.epochs else "-",
            *(summary_text(name, c.figures.get(name)) for name in _COMPARED),
            duration(c.seconds.mean) if c.seconds else "-",
        ]
        for c in comparison.contenders
    ]


def _pairs(comparison: Comparison) -> Table:
    rows = [
        [
            pair.first,
            pair.second,
            f"{100 * pair.difference:+.2f}",
            f"{100 * pair.interval[0]:+.2f} to {100 * pair.interval[1]:+.2f}",
            "-" if pair.only_first is None else f"{pair.only_first:,}",
            "-" if pair.only_second is None else f"{pair.only_second:,}",
            "-" if pair.p_value is None else f"{pair.p_value:.2g}",
        ]
        for pair in comparison.pairs
    ]
    title = "differences in points of accuracy"
    return Table(_PAIR_HEAD, rows, words=2, title=title, caption=EXPLANATION)
