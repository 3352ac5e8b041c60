"""The recipes by name: one zero-argument function per published run, and what its system reports."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, overload

from mien.recipe import Recipe
from mien.registry import Registry

Builder = Callable[[], Recipe]


@dataclass(frozen=True)
class Published:
    """What a reference system reports of itself; None for what it does not state.

    Accuracies are 0..1, losses mean cross-entropies in nats, `gap` is training minus validation
    accuracy. Named like the columns of a history, so that the two can be laid side by side.

    Attributes:
        best_validation_accuracy: the highest of all epochs, where it is stated apart.
        epoch: which epoch of ours the training and validation figures are laid beside: the `kept`
            one, whose weights are evaluated, or the `last`.
        faces: how many faces the system trains and validates on together. Beside a training on
            other faces its figures say nothing.
        note: what else has to be known to read them.
    """

    test_accuracy: float | None = None
    test_loss: float | None = None
    best_validation_accuracy: float | None = None
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    train_accuracy: float | None = None
    train_loss: float | None = None
    gap: float | None = None
    epoch: Literal["kept", "last"] = "kept"
    faces: int | None = None
    note: str = ""

    def figures(self) -> dict[str, float]:
        """The figures that are stated, by field, the weightiest first."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), float)
        }


@dataclass(frozen=True)
class RecipeEntry:
    """A registered recipe: how to build it, and the reference system (a letter) that it follows, if any."""

    build: Builder
    system: str | None
    published: Published

    @property
    def evidence(self) -> str:
        """The docstring: source, choices, and what it gave."""
        return inspect.getdoc(self.build) or ""


_RECIPES = Registry[RecipeEntry]("recipe")


@overload
def register(build: Builder, /) -> Builder: ...
@overload
def register(
    *, system: str | None = None, published: Published | None = None
) -> Callable[[Builder], Builder]: ...
def register(
    build: Builder | None = None,
    /,
    *,
    system: str | None = None,
    published: Published | None = None,
) -> Builder | Callable[[Builder], Builder]:
    """Decorate a recipe function, with or without arguments; it goes by its own name with dashes.

    Args:
        build: the function.
        system: the reference system that the recipe follows.
        published: the figures which that system states.
    """

    def add(build: Builder) -> Builder:
        entry = RecipeEntry(build, system, published or Published())
        _RECIPES.add(build.__name__.replace("_", "-"), entry)
        return build

    return add if build is None else add(build)


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_RECIPES)


def reference_names() -> list[str]:
    """The recipes that follow a reference system, system by system, as each system lists them."""
    following = [name for name in _RECIPES if _RECIPES[name].system]
    return sorted(following, key=lambda name: _RECIPES[name].system or "")


def entry(name: str) -> RecipeEntry:
    """The entry of a name; InputError with near names where there is none."""
    return _RECIPES[name]


def find(name: str) -> Recipe:
    """The recipe of a name; InputError with near names where there is none."""
    return entry(name).build()


def evidence(name: str) -> str:
    """The docstring of a recipe: source, choices, and what it gave."""
    return entry(name).evidence
