"""A page that says "this test shows it" names a test that there is."""

from __future__ import annotations

import ast
import re

import pytest
from blocks import PAGES, ROOT

#: As pages write a test: a file of tests, two colons, the name of a function.
NAMED = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
MENTIONS = {page: set(NAMED.findall(path.read_text("utf-8"))) for page, path in PAGES.items()}


@pytest.mark.parametrize("page", [page for page, named in MENTIONS.items() if named])
def test_each_test_that_a_page_names_is_there(page):
    for file, name in sorted(MENTIONS[page]):
        assert (ROOT / file).is_file(), f"{page}: there is no {file}"
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        found = {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}
        assert name in found, f"{page}: {file} has no {name}"


def test_every_complaint_has_its_test():
    page = PAGES["docs/why-mien.md"].read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| **")]
    assert len(rows) == 15
    assert all(NAMED.search(row) for row in rows)
