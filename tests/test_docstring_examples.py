"""The examples in the docstrings of `mien` are true: each module that has some is run by doctest."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import mien

_PACKAGE = Path(mien.__file__).parent
#: Modules with an example, by name: `mien.errors`.
_MODULES = sorted(
    ".".join(["mien", *file.relative_to(_PACKAGE).with_suffix("").parts])
    for file in _PACKAGE.rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", _MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
