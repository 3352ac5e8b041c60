"""The blocks of a page. `render` turns the same blocks into HTML, Markdown and text for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: Rows of cells, as text.
Rows = Sequence[Sequence[str]]


class Heading(NamedTuple):
    """A heading; level 1 is the title of the page."""

    text: str
    level: int = 2


class Text(NamedTuple):
    """A paragraph.

    Attributes:
        text: the text, escaped in HTML, because it may contain names.
        kind: CSS classes of the paragraph, such as `quiet small` or `note`.
        marked: whether HTML formats `code` and **bold**; for sentences without names.
    """

    text: str
    kind: str = ""
    marked: bool = False


class Prose(NamedTuple):
    """Text in Markdown, with tables; HTML in it is escaped."""

    markdown: str


class Table(NamedTuple):
    """A table.

    Attributes:
        head: the names of the columns.
        rows: the cells; in the terminal, an empty row draws a line.
        words: number of leading columns with words; the others have figures and are aligned to the right.
        title, caption: text above and below it in the terminal only; pages have headings and paragraphs for it.
    """

    head: Sequence[str]
    rows: Rows
    words: int = 1
    title: str = ""
    caption: str = ""


class Group(NamedTuple):
    """Rows of one subject in a `Grouped` table.

    Attributes:
        name: name of the subject.
        note: a remark beside the name.
        state: its state, in few words.
        kind: style of the state: `good`, `part`, `bad` or `none`.
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
    """A table with groups of rows; the first column of the head is that of the subjects.

    Attributes:
        head: the names of the columns.
        rows: the groups.
        bold: name of the column that HTML sets in bold.
        good: text of the cells that HTML highlights as good.
    """

    head: Sequence[str]
    rows: Sequence[Group]
    bold: str = ""
    good: str = ""


class Facts(NamedTuple):
    """Names and values."""

    rows: Sequence[tuple[str, str]]


class Tiles(NamedTuple):
    """The main figures, each as (name, value, note)."""

    rows: Sequence[tuple[str, str, str]]


class Headline(NamedTuple):
    """The most important figure of a page, the words after it, and blocks beside it."""

    figure: str
    text: str
    beside: Sequence[Block] = ()


class Drawing(NamedTuple):
    """A figure, made by `render.draw`.

    Attributes:
        svg: an <svg> element that follows the page's colours.
        name: name of its PNG beside the page, without the suffix.
        description: text for screen readers.
        kind: its width: `figure`, `medium` or `wide`.
    """

    svg: str
    name: str
    description: str
    kind: str


class Pictured(NamedTuple):
    """A face in a `Gallery`.

    Attributes:
        picture: the face as a data: URL.
        row: its row in the data.
        label: its label.
        name: the expression in its caption.
        beside: text beside the name.
        below: lines below it.
        why: data: URL of the face coloured by the influence of its pixels on the answer; or empty.
    """

    picture: str
    row: str
    label: str
    name: str
    beside: str
    below: Sequence[str] = ()
    why: str = ""


class Gallery(NamedTuple):
    """Pictures of faces, in HTML only."""

    rows: Sequence[Pictured]


class Commands(NamedTuple):
    """Command lines to copy."""

    rows: Sequence[str]


class Card(NamedTuple):
    """Blocks in a frame."""

    blocks: Sequence[Block]


class Columns(NamedTuple):
    """Blocks side by side, wrapped if there is no room."""

    blocks: Sequence[Block]


_Framed = Table | Grouped | Facts | Gallery | Commands
Block = Heading | Text | Prose | Tiles | Headline | Drawing | Card | Columns | _Framed


class Page(NamedTuple):
    """A page.

    Attributes:
        title: its title.
        blocks: its blocks.
        about: a small line below the title.
        kind: layout in HTML: `prose` for running text; wide if empty.
    """

    title: str
    blocks: Sequence[Block]
    about: str = ""
    kind: str = ""


def section(title: str, *blocks: Block, said: str = "", level: int = 2) -> list[Block]:
    """Make a section of a heading, a sentence and the blocks that are not empty; no section if all are empty.

    Args:
        title: the heading.
        blocks: the blocks; empty ones are left out.
        said: the text below the heading, or empty.
        level: level of the heading.
    """
    kept = [block for block in blocks if getattr(block, "rows", getattr(block, "blocks", True))]
    if not kept:
        return []
    quiet = "quiet" if level < 3 else "quiet small"
    return [Heading(title, level), *([Text(said, quiet)] if said else []), *kept]


def commands(lines: Iterable[str | None], title: str = "How this was made") -> list[Block]:
    """Make a section of command lines, each once; unknown ones (None) are left out."""
    return section(title, Commands(list(dict.fromkeys(str(line) for line in lines if line))))
