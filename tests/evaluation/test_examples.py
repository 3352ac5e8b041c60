"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["metrics", "tables", "text"])
def test_docstring_examples(module):
    failed, tried = doctest.testmod(importlib.import_module(f"mien.evaluation.{module}"))
    assert tried
    assert not failed
