"""The code blocks of the pages, and what the pages say of running them.

    <!-- not run: reason -->                       before a block: nothing of it is run
    <!-- not run (mien serve, curl): reason -->    before a block: lines that begin so are not run
    ```python title="my_file.py"                   a file: it is written, for the lines that follow

Plain `python` and `sh` blocks are run in the page's order, in one folder. Of `sh`: `mien ...` and
`python FILE ...` are run; `make TARGET` and `pip install '.[EXTRA]'` are looked up.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
_NOT_RUN = re.compile(r"<!-- not run(?: \((?P<lines>[^)]*)\))?: (?P<reason>.+?) -->", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, what it is, and why it is not run, if so."""

    page: str
    line: int
    language: str
    source: str
    title: str | None
    reason: str | None = None
    #: What the lines that are not run begin with; none of them: the whole block.
    but: tuple[str, ...] = ()

    @property
    def is_run(self) -> bool:
        return self.title is None and (self.reason is None or bool(self.but))

    @cached_property
    def commands(self) -> list[str]:
        """The lines of a shell block, continued ones as one, without comments and empty ones."""
        joined = self.source.replace("\\\n", " ")
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line]

    def left_out(self, command: str) -> bool:
        return any(command.startswith(start) for start in self.but)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, comment = [], ""
    for token in MarkdownIt().parse(PAGES[page].read_text(encoding="utf-8")):
        if token.type == "html_block":
            comment = token.content
        elif token.type == "fence":
            language, _, options = token.info.strip().partition(" ")
            said, title = _NOT_RUN.search(comment), _TITLE.search(options)
            found.append(
                Block(
                    page,
                    token.map[0] + 1,
                    language,
                    token.content,
                    title and title[1],
                    said and " ".join(said["reason"].split()),
                    tuple(part.strip() for part in said["lines"].split(","))
                    if said and said["lines"]
                    else (),
                )
            )
        if token.type != "html_block" and not token.type.endswith("_open"):
            comment = ""
    return found


def words(command: str) -> list[str]:
    """The words of a command up to a pipe, a redirection or another command, without variables before it."""
    taken = []
    for word in shlex.split(command):
        if word in ("|", ">", "&&", "<"):
            break
        if taken or not re.fullmatch(r"[A-Z_]+=.*", word):
            taken.append(word)
    return taken
