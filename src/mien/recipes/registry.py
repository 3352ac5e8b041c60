"""The recipes by name: one zero-argument function per published run."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from mien.registry import Registry
from mien.training.recipe import Recipe

_RECIPES = Registry[Callable[[], Recipe]]("recipe")


def register(build: Callable[[], Recipe]) -> Callable[[], Recipe]:
    """Decorate a recipe function; it goes by its own name with dashes."""
    _RECIPES.add(build.__name__.replace("_", "-"), build)
    return build


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_RECIPES)


def find(name: str) -> Recipe:
    """The recipe of a name; InputError with near names where there is none."""
    return _RECIPES[name]()


def evidence(name: str) -> str:
    """The docstring of a recipe: source, choices, and what it gave."""
    return inspect.getdoc(_RECIPES[name]) or ""
