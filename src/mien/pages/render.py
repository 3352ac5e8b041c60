"""Render blocks as self-contained HTML pages, as Markdown, and as text for the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape as shown
from rich.text import Text as RichText

from mien.errors import extra_required, visible
from mien.files import atomic_file
from mien.pages import blocks
from mien.pages.blocks import Block, Page
from mien.pages.plots import inline_svg, save_png
from mien.terminal import Stack, facts, named, table
from mien.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


def filled(template: str, room: str = "mien.pages", *, escape: bool = True, **context: Any) -> str:
    """Fill in a template.

    Args:
        template: file name in the folder `templates` of the package.
        room: the package.
        escape: whether HTML in values is escaped; values of type Markup never are.
        context: the variables of the template.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    with extra_required("report", "writing a report"):
        from jinja2 import Environment, PackageLoader, StrictUndefined
    environment = Environment(
        loader=PackageLoader(room),
        autoescape=escape,  # noqa: S701 (a page of Markdown has nothing to escape)
        undefined=StrictUndefined,
        finalize=lambda value: visible(value, keep="\n") if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **context)


def write(page: Page, path: Path) -> Path:
    """Write a page atomically: as Markdown if the suffix is .md, else as HTML.

    Returns:
        The path.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    if path.suffix == ".md":
        text = as_markdown(page)
    else:
        text = filled("page.html.j2", page=page, kind=_kind, marked=_marked, prose=_prose)
    with atomic_file(path, "w") as handle:
        handle.write(text)
    return path


def draw(
    figure: Figure, folder: Path, name: str, description: str, kind: str = "figure"
) -> blocks.Drawing:
    """Save a figure as <folder>/<name>.png and make a block of it.

    Args:
        figure: the figure.
        folder: the folder of the page.
        name: file name of the PNG without the suffix, unique on the page.
        description: text for screen readers.
        kind: its width on the page: `figure`, `medium` or `wide`.

    Raises:
        MissingExtraError: markupsafe is not installed.
    """
    with extra_required("report", "writing a report"):
        from markupsafe import Markup
    save_png(figure, folder / f"{name}.png")
    svg = Markup(inline_svg(figure, name, description))  # noqa: S704 (inline_svg escapes)
    return blocks.Drawing(svg, name, description, kind)


def as_markdown(page: Page) -> str:
    """Render a page as Markdown; faces are left out, drawings are links to their PNGs."""
    parts = [f"# {page.title}", page.about, *map(markdown, page.blocks)]
    return "\n\n".join(filter(None, parts)) + "\n"


def markdown(block: Block) -> str:
    """Render a block as Markdown, without a final newline; empty for faces."""
    match block:
        case blocks.Heading(text, level):
            return f"{'#' * level} {text}"
        case blocks.Text(text) | blocks.Prose(text):
            return text
        case blocks.Table(head, rows, words):
            return _markdown_table(head, rows, words)
        case blocks.Grouped(head, groups):
            lines: list[list[str]] = []
            for group in groups:
                name = f"`{group.name}`" + (f" ({group.note})" if group.note else "")
                said = ": ".join([group.state, "; ".join(group.remarks)]).removesuffix(": ")
                names, ends = [name, *[""] * len(group.rows)], [said, *[""] * len(group.rows)]
                lines += [[a, *row, z] for a, row, z in zip(names, group.rows, ends, strict=False)]
            return _markdown_table([*head, "how"], lines, 2)
        case blocks.Facts(rows):
            return "\n".join(f"- {name}: {value}" for name, value in rows)
        case blocks.Tiles(rows):
            return "\n".join(
                f"- {name}: {value}, {note}".removesuffix(", ") for name, value, note in rows
            )
        case blocks.Headline(figure, text, inner):
            return "\n\n".join([f"**{figure}** {text}", *map(markdown, inner)])
        case blocks.Drawing():
            return f"![{block.description}]({block.name}.png)"
        case blocks.Commands(rows):
            return "\n".join(["```text", *rows, "```"])
        case blocks.Card(inner) | blocks.Columns(inner):
            return "\n\n".join(map(markdown, inner))
        case _:
            return ""


def _markdown_table(head: Sequence[str], rows: blocks.Rows, words: int) -> str:
    cells = (" | ".join(cell.replace("|", "/").strip() for cell in line) for line in (head, *rows))
    names, *lines = (f"| {line} |" for line in cells)
    rule = "|---" * words + "|---:" * (len(head) - words) + "|"
    return "\n".join([names, rule, *lines])


def as_terminal(*parts: Block) -> Stack:
    """Render headings, paragraphs, facts and tables for the terminal; tables keep to 80 columns.

    Raises:
        TypeError: a block that only pages can show.
    """
    return Stack(*map(_terminal, parts))


def _terminal(block: Block) -> RenderableType:
    match block:
        case blocks.Table(head, rows):
            title, caption = shown(block.title) or None, shown(block.caption) or None
            made = table(*head, title=title, caption=caption, words=range(block.words))
            for row in rows:
                if row:
                    made.add_row(*map(named, row))
                else:
                    made.add_section()
            return made
        case blocks.Facts(rows):
            return facts(*((named(name), named(value)) for name, value in rows))
        case blocks.Heading(text):
            return RichText(text, style="bold")
        case blocks.Text(text):
            return RichText(text)
    raise TypeError(f"a {type(block).__name__} is for pages; the terminal has no room for it")


def _kind(block: Block) -> str:
    return type(block).__name__


def _marked(text: str) -> Markup:
    """Convert a sentence of mien with `code` and **bold** to HTML."""
    from markupsafe import Markup, escape

    safe = str(escape(visible(text, keep="\n")))
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", coded))  # noqa: S704 (escaped above)


def _prose(markdown: str) -> Markup:
    """Convert Markdown to HTML. Raw HTML in it is escaped, so that names in recipes stay text."""
    with extra_required("report", "writing a model card"):
        from markdown_it import MarkdownIt
        from markupsafe import Markup
    safe = visible(markdown, keep="\n")
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(safe))  # noqa: S704
