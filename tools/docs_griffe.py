"""What mkdocstrings asks of a docstring, which is written to be read as it is, not as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class PlainText(griffe.Extension):
    """Fences around examples, without what only doctest needs to know; no links made of indices."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = obj.docstring.value.replace("][", "]\\[")  # confusion[t][p]
            obj.docstring.value = _EXAMPLE.sub(_fenced, text)


def _fenced(example: re.Match[str]) -> str:
    return "```pycon\n" + re.sub(r"\s*# doctest: \S+", "", example[0]) + "\n```"
