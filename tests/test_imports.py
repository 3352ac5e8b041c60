"""Modules import each other one way: `lint-imports` holds the rooms apart, this the modules within them."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

import mien

SOURCE = Path(mien.__file__).parent


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions and those for type checkers alone count too."""
    graph = grimp.build_graph("mien", cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imported).prepare()  # its CycleError names the circle


def test_a_class_has_its_name_to_itself():
    """So that a reader who knows one of a name knows all of them."""
    places = defaultdict(list)
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(file.relative_to(SOURCE).as_posix())
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
