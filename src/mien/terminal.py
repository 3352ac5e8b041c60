"""The style of all tables in the terminal, safe printing of names, and notes and progress for people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from textwrap import wrap

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.jupyter import JupyterMixin
from rich.progress import Progress, ProgressColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mien.errors import visible

#: Most letters in a line of a column's heading; a single long word may have more.
_WIDE = 10


class Terminal(Console):
    """A console that prints control characters as visible text, so that names and labels cannot manipulate it."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render to segments; control characters in text become visible, except line ends."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else segment._replace(text=visible(segment.text, keep="\n"))
            )


def named(name: str) -> Text:
    """A name for a cell or a line of a table: visible text on one line, without markup."""
    return Text(visible(name))


def shortened(name: str, others: int) -> Text:
    """`named`, for a table: shortened to its end if it is too long, as the end differs most between neighbours.

    Args:
        name: the name.
        others: the width of the table's other columns, in characters.
    """
    name, room = visible(name), max(20, Console().width - others)
    return Text(name if len(name) <= room else f"…{name[1 - room :]}")


class Stack(Group, JupyterMixin):
    """Tables one below the other; a notebook displays them if they are the last value of a cell."""


def table(
    *columns: str,
    title: str | None = None,
    caption: str | None = None,
    words: Collection[int] = (0,),
) -> Table:
    """A table of results for 80 columns; columns at the positions `words` are aligned left, numbers right."""
    made = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
    for position, column in enumerate(columns):
        lines = wrap(column, _WIDE, break_long_words=False)  # between words and after hyphens
        made.add_column("\n".join(lines), justify="left" if position in words else "right")
    return made


def facts(*rows: tuple[RenderableType, RenderableType]) -> Table:
    """A table of names and values, with long values folded."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


#: The console for people, on standard error: progress, notes, errors.
_MESSAGES = Terminal(stderr=True)


def note(text: str) -> None:
    """Print a line for people on standard error."""
    _MESSAGES.print(visible(text), highlight=False, soft_wrap=True, markup=False, emoji=False)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Make a progress bar of some columns, or the usual ones; it is shown on a terminal only, and goes at its end."""
    return Progress(*columns, console=_MESSAGES, transient=True, disable=not _MESSAGES.is_terminal)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar on a terminal; yields the function to call with (number done, total number or None)."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=None)
        if bar.disable:  # an update takes 10 microseconds even so
            yield lambda _done, _total: None
        else:
            yield lambda done, total: bar.update(task, completed=done, total=total)
