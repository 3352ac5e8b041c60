"""Parts that go by name: networks, recipes, objectives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from mien.errors import InputError, near_names

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """Parts of one kind by name, in the order they were added.

    >>> sizes = Registry[int]("size")
    >>> sizes.add("small", 1)
    >>> sizes["small"]
    1
    """

    def __init__(self, kind: str) -> None:
        """`kind` is what a part is called in messages."""
        self._kind = kind
        self._parts: dict[str, Part] = {}

    def add(self, name: str, part: Part) -> None:
        """Make a part known; two of one name are a mistake in the program."""
        if name in self._parts:
            raise ValueError(f"two parts of kind {self._kind} are called {name}")
        self._parts[name] = part

    def __getitem__(self, name: str) -> Part:
        """The part of a name; InputError with near names where there is none."""
        if name not in self._parts:
            raise InputError(f"there is no {self._kind} {name!r} ({near_names(name, self._parts)})")
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)
