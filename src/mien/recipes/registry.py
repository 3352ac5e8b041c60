"""The recipes by name: one zero-argument function per published run."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from mien.errors import InputError, near_names
from mien.training.recipe import Recipe

_RECIPES: dict[str, Callable[[], Recipe]] = {}


def register(build: Callable[[], Recipe]) -> Callable[[], Recipe]:
    """Decorate a recipe function; it goes by its own name with dashes."""
    name = build.__name__.replace("_", "-")
    if name in _RECIPES:
        raise ValueError(f"two recipes are called {name}")
    _RECIPES[name] = build
    return build


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_RECIPES)


def find(name: str) -> Recipe:
    """The recipe of a name; InputError with near names where there is none."""
    if name not in _RECIPES:
        raise InputError(f"there is no recipe {name!r} ({near_names(name, _RECIPES)})")
    return _RECIPES[name]()


def evidence(name: str) -> str:
    """The docstring of a recipe: source, choices, and what it gave."""
    return inspect.getdoc(_RECIPES[name]) or ""
