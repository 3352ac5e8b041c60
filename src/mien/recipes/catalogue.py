"""The registry of recipes: one zero-argument function per run, and the published figures of its system."""

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
    """The published figures of a reference system; None for a figure that it does not state.

    Accuracies are 0..1, losses are mean cross-entropies in nats, `gap` is training minus validation
    accuracy. Fields have the names of the columns of a history, so that the two can be compared.

    Attributes:
        best_validation_accuracy: the highest of all epochs, if it is stated separately.
        epoch: the epoch of our training to compare the training and validation figures with: the `kept`
            one, whose weights are evaluated, or the `last`.
        faces: number of faces for training and validation together. Figures of a training on another
            number of faces cannot be compared with these.
        note: a remark needed to read the figures.

    >>> Published(test_accuracy=0.63, note="one seed").figures()
    {'test_accuracy': 0.63}
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
        """The stated figures by field name, the most important first."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), float)
        }


@dataclass(frozen=True)
class RecipeEntry:
    """A registered recipe.

    Attributes:
        build: the function that returns it.
        system: the letter of the reference system that it follows; None if it follows none.
        published: the figures of that system.
    """

    build: Builder
    system: str | None
    published: Published

    @property
    def evidence(self) -> str:
        """The docstring of the recipe: source, choices and results."""
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
    """Decorate a recipe function to register it under its own name, with dashes for underscores.

    Works with and without arguments: `@register` or `@register(system="B", published=...)`.

    Args:
        build: the function.
        system: the letter of the reference system that the recipe follows.
        published: the figures of that system.
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
    """The names of recipes that follow a reference system, sorted by system, in each system's own order."""
    following = [name for name in _RECIPES if _RECIPES[name].system]
    return sorted(following, key=lambda name: _RECIPES[name].system or "")


def entry(name: str) -> RecipeEntry:
    """The entry of a name.

    Raises:
        InputError: there is no such recipe; the message proposes similar names.
    """
    return _RECIPES[name]


def find(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        InputError: there is no such recipe; the message proposes similar names.

    >>> import mien.recipes
    >>> find("four-block-cnn").epochs
    50
    """
    return entry(name).build()


def evidence(name: str) -> str:
    """The docstring of a recipe: source, choices and results.

    Raises:
        InputError: there is no such recipe; the message proposes similar names.
    """
    return entry(name).evidence
