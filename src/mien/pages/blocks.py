"""What a page is made of. `render` makes HTML, Markdown and the terminal's text of the same blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: Of cells, all of them written out.
Rows = Sequence[Sequence[str]]


class Heading(NamedTuple):
    """A heading; level 1 is the page's own."""

    text: str
    level: int = 2


class Text(NamedTuple):
    """A paragraph.

    Attributes:
        text: shown letter by letter, for it may hold names.
        kind: how HTML shows it: classes of the style, as `quiet small` or `note`.
        marked: HTML shows `code` and **bold** as such: for sentences without names.
    """

    text: str
    kind: str = ""
    marked: bool = False


class Prose(NamedTuple):
    """Text in Markdown, its tables too; HTML in it is shown letter by letter."""

    markdown: str


class Table(NamedTuple):
    """Figures in columns.

    Attributes:
        head: the names of the columns.
        rows: the cells; an empty row is a line between the others in the terminal.
        words: the first columns, which are words; all others are figures, to the right.
        title, caption: above and below it in the terminal, which has no headings and no paragraphs beside it.
    """

    head: Sequence[str]
    rows: Rows
    words: int = 1
    title: str = ""
    caption: str = ""


class Group(NamedTuple):
    """Rows of one subject in a `Grouped` table.

    Attributes:
        name: of the subject.
        note: said of it.
        state: how it is, in few words.
        kind: how the state is shown: `good`, `part`, `bad` or `none`.
        rows: its rows.
        remarks: sentences below them.
    """

    name: str
    note: str
    state: str
    kind: str
    rows: Rows
    remarks: Sequence[str] = ()


class Grouped(NamedTuple):
    """A table whose rows belong to subjects; the head's first column is that of the subjects.

    HTML shows the column of the name `bold` in bold, and a cell of the text `good` as good.
    """

    head: Sequence[str]
    rows: Sequence[Group]
    bold: str = ""
    good: str = ""


class Facts(NamedTuple):
    """Names and values."""

    rows: Sequence[tuple[str, str]]


class Tiles(NamedTuple):
    """Figures that catch the eye: (name, value, note)."""

    rows: Sequence[tuple[str, str, str]]


class Headline(NamedTuple):
    """The one figure that a page is about, the words that follow it, and blocks beside it."""

    figure: str
    text: str
    beside: Sequence[Block] = ()


class Drawing(NamedTuple):
    """A figure, as `render.draw` gives it.

    Attributes:
        svg: an element that follows the page's colours.
        name: of its PNG beside the page, without the suffix.
        description: for people who cannot see it.
        kind: how wide it is: `figure`, `medium` or `wide`.
    """

    svg: str
    name: str
    description: str
    kind: str


class Pictured(NamedTuple):
    """A face in a `Gallery`: its picture as a data: address, row, label, a name and words beside and below it.

    `why`: the same face coloured by what spoke for the name, or empty.
    """

    picture: str
    row: str
    label: str
    name: str
    beside: str
    below: Sequence[str] = ()
    why: str = ""


class Gallery(NamedTuple):
    """Pictures of faces, in HTML alone."""

    rows: Sequence[Pictured]


class Commands(NamedTuple):
    """Command lines, to be copied."""

    rows: Sequence[str]


class Card(NamedTuple):
    """Blocks in one frame."""

    blocks: Sequence[Block]


class Columns(NamedTuple):
    """Blocks side by side, as far as there is room."""

    blocks: Sequence[Block]


_Framed = Table | Grouped | Facts | Gallery | Commands
Block = Heading | Text | Prose | Tiles | Headline | Drawing | Card | Columns | _Framed


class Page(NamedTuple):
    """A page: its title, a small line below it, and its blocks.

    `kind`: how HTML lays it out: `prose` for a page that is read, else wide.
    """

    title: str
    blocks: Sequence[Block]
    about: str = ""
    kind: str = ""


def section(title: str, *blocks: Block, said: str = "", level: int = 2) -> list[Block]:
    """A heading, what is said below it, and those of the blocks that hold anything; if none does, nothing."""
    kept = [block for block in blocks if getattr(block, "rows", getattr(block, "blocks", True))]
    if not kept:
        return []
    quiet = "quiet" if level < 3 else "quiet small"
    return [Heading(title, level), *([Text(said, quiet)] if said else []), *kept]


def commands(lines: Iterable[str | None], title: str = "How this was made") -> list[Block]:
    """A section of command lines, each once; those that are not known are left out."""
    return section(title, Commands(list(dict.fromkeys(str(line) for line in lines if line))))
