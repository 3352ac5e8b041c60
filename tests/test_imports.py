"""Modules import each other one way: `lint-imports` holds the rooms apart, this the modules within them."""

from graphlib import TopologicalSorter

import grimp


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions and those for type checkers alone count too."""
    graph = grimp.build_graph("mien", cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imported).prepare()  # its CycleError names the circle
