"""Self-contained HTML pages from the templates beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import extra_required, visible
from mien.evaluation.plots import inline_svg, save_png
from mien.files import atomic_file
from mien.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


def filled(
    template: str, room: str = "mien.evaluation", *, escape: bool = True, **context: Any
) -> str:
    """A template of a room with everything in its place; HTML is escaped but for our own drawings."""
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


def write_page(path: Path, template: str, **context: Any) -> Path:
    """Fill a template and write the page atomically."""
    page = filled(template, **context)
    with atomic_file(path, "w") as handle:
        handle.write(page)
    return path


def draw(figure: Figure, folder: Path, name: str, description: str) -> Markup:
    """Save a figure as <folder>/<name>.png and give it back for embedding in a page."""
    with extra_required("report", "writing a report"):
        from markupsafe import Markup
    save_png(figure, folder / f"{name}.png")
    return Markup(inline_svg(figure, name, description))  # noqa: S704 (inline_svg escapes)
