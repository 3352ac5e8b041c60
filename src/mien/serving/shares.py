"""Shared limits: a total for all clients, of which one client gets half at most; and limits of a rate."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mien.serving.problems import busy


class Shares:
    """Counts the use of a limited resource, in total and by client.

    Args:
        most: the limit for all clients together.
        detail: the sentence of the 503 beyond a limit.
        each: the limit for one client; by default half of `most`, rounded up.

    >>> cameras = Shares(8, "no more cameras now; try again later")
    >>> with cameras.taken("192.0.2.1", 4):
    ...     cameras.has("192.0.2.1"), cameras.has("192.0.2.2")
    (False, True)
    """

    def __init__(self, most: int, detail: str, each: int | None = None) -> None:
        self._most = most
        self._each = -(-most // 2) if each is None else each
        self._detail = detail
        self._taken: Counter[str] = Counter()
        self.total = 0

    @property
    def full(self) -> bool:
        """Whether the total is used up."""
        return self.total >= self._most

    def has(self, client: str, count: int = 1) -> bool:
        """Whether a client can take `count` more now."""
        return self.total + count <= self._most and self._taken.get(client, 0) + count <= self._each

    def check(self, client: str, count: int = 1) -> None:
        """Check that a client can take `count` more now.

        Raises:
            Problem: 503 if it cannot.
        """
        if not self.has(client, count):
            raise busy(self._detail)

    @contextmanager
    def taken(self, client: str, count: int = 0) -> Iterator[Callable[[int], None]]:
        """Take `count` for a client; all that it took is free again when the block ends.

        Yields:
            A function that takes more, by its number.

        Raises:
            Problem: 503 if a limit is passed, at the beginning or when more is taken.
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


class Bucket:
    """Limits a rate: a token bucket with room for the tokens of two seconds.

    Args:
        rate: tokens a second, above 0.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = self._left = max(1.0, 2 * rate)
        self._then = time.monotonic()

    def take(self) -> float:
        """Take a token: returns 0, or the seconds until there is one."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._then) * self._rate)
        self._then = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0
