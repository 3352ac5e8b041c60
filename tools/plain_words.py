"""Count the words `what` and `where` among the words of docstrings and comments, a thousand words at a time.

`python tools/plain_words.py [FOLDER]` prints both for each room of `src/mien`, and the files with most of them. Nouns
and "if" are easier to read for engineers of any first language; this is a measure, no gate.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter, defaultdict
from pathlib import Path

WATCHED = ("what", "where")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def words(file: Path) -> Counter[str]:
    """The words of a file's docstrings and comments, in lower case, each with its count."""
    source = file.read_text(encoding="utf-8")
    texts = [
        text
        for node in ast.walk(ast.parse(source))
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node))
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts += [token.string for token in tokens if token.type == tokenize.COMMENT]
    return Counter(re.findall(r"[a-z]+(?:'[a-z]+)?", " ".join(texts).lower()))


def line(name: str, counts: Counter[str]) -> str:
    total = counts.total()
    rates = "".join(f"{1000 * counts[word] / max(total, 1):8.1f}" for word in WATCHED)
    return f"{name:32s}{total:8d}{rates}"


def main(folder: Path) -> None:
    files = {file.relative_to(folder): words(file) for file in sorted(folder.rglob("*.py"))}
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for file, counts in files.items():
        rooms[file.parts[0] if len(file.parts) > 1 else "."] += counts
    print(f"{'':32s}{'words':>8s}" + "".join(f"{word:>8s}" for word in WATCHED))
    for room in sorted(rooms):
        print(line(room, rooms[room]))
    print(line("all", sum(rooms.values(), Counter())))
    worst = sorted(files, key=lambda file: -sum(files[file][word] for word in WATCHED))
    for file in worst[:15]:
        print(line(str(file), files[file]))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("src/mien"))
