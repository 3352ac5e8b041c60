"""Limits that many share: all clients together have so much, and one of them half of it at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mien.serving.problems import busy


class Shares:
    """How much of something is taken, in all and by each client.

    Args:
        most: that may be taken by all clients together.
        detail: the sentence of the 503 for who gets no more.
        each: that one client may take; by default half of `most`, rounded up.
    """

    def __init__(self, most: int, detail: str, each: int | None = None) -> None:
        self._most = most
        self._each = -(-most // 2) if each is None else each
        self._detail = detail
        self._taken: Counter[str] = Counter()
        self.total = 0

    @property
    def full(self) -> bool:
        """Whether nobody gets any more."""
        return self.total >= self._most

    def has(self, client: str, count: int = 1) -> bool:
        """Whether a client could take so much now."""
        return self.total + count <= self._most and self._taken.get(client, 0) + count <= self._each

    def check(self, client: str, count: int = 1) -> None:
        """Problem 503 where a client could not take so much now."""
        if not self.has(client, count):
            raise busy(self._detail)

    @contextmanager
    def taken(self, client: str, count: int = 0) -> Iterator[Callable[[int], None]]:
        """Within, a client has so much, and more by calling what this gives.

        Raises:
            Problem: 503 where that is too much, at the beginning or when more is taken.
        """
        mine = 0

        def take(more: int) -> None:
            nonlocal mine
            self.check(client, more)
            mine += more
            self.total += more
            self._taken[client] += more

        try:
            take(count)
            yield take
        finally:
            self.total -= mine
            self._taken[client] -= mine
            if self._taken[client] <= 0:
                del self._taken[client]
