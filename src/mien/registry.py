"""Registries of parts by name: networks, recipes, layouts of data, trackers, detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from mien.errors import InputError, near_names

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """Parts of one kind by name, in the order in which they were added.

    >>> sizes = Registry[int]("size")
    >>> sizes.add("small", 1)
    >>> sizes["small"]
    1
    """

    def __init__(self, kind: str) -> None:
        """`kind` is the word for a part in messages: `network`."""
        self._kind = kind
        self._parts: dict[str, Part] = {}

    def add(self, name: str, part: Part) -> None:
        """Register a part.

        Raises:
            ValueError: the name is taken: a mistake in the program.
        """
        if name in self._parts:
            raise ValueError(f"two parts of kind {self._kind} are called {name}")
        self._parts[name] = part

    def __getitem__(self, name: str) -> Part:
        """Get a part by its name.

        Raises:
            InputError: there is none; the message has similar names.
        """
        if name not in self._parts:
            raise InputError(f"there is no {self._kind} {name!r} ({near_names(name, self._parts)})")
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)
