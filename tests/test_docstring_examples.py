"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import mien

_PACKAGE = Path(mien.__file__).parent
_MODULES = sorted(
    ".".join(("mien", *file.relative_to(_PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for file in _PACKAGE.rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", _MODULES)
def test_docstring_examples(name):
    assert not doctest.testmod(importlib.import_module(name)).failed
