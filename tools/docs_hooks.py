"""What MkDocs asks while it builds the site: commands and names are written by the source itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

import mien.cli

_SOURCE = Path(mien.cli.__file__).parents[2]
#: In docs/cli.md, where the commands go.
_COMMANDS = "<!-- every command -->"
#: In docs/api.md, where all that a module makes public goes.
_NAMES = re.compile(r"<!-- every name of (\S+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The text of a page; called by MkDocs for each."""
    if _COMMANDS in markdown:
        markdown = markdown.replace(_COMMANDS, commands())
    return _NAMES.sub(lambda found: directives(found[1]), markdown)


def commands() -> str:
    """Markdown: a heading, what it does, arguments and options of every command."""
    root = typer.main.get_command(mien.cli.app)
    context = typer.Context(root, info_name="mien")
    return "\n".join(
        get_docs_for_click(obj=command, ctx=context, indent=1, name=name, call_prefix="mien")
        for name, command in root.commands.items()
    )


def directives(module: str) -> str:
    """mkdocstrings' line for each function and class that a module makes public."""
    return "\n".join(f"::: {module}.{name}" for name in public(module))


def public(module: str) -> list[str]:
    """The functions and classes that a package exports, read without importing it: that may need torch.

    They are the names that its `__init__.py` imports as themselves (`from mien.api import load as load`).
    """
    path = _SOURCE.joinpath(*module.split("."), "__init__.py")
    imports = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    names = [one.name for node in imports for one in node.names if one.name == one.asname]
    if not names:
        raise ValueError(f"{module}: exports nothing")
    return sorted(name for name in names if not name.isupper())
