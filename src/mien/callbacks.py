"""Types of callbacks: `progress` reports how much is done, `say` takes lines for people, `on_...` are for events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: Called now and then with (number done, total number).
Progress: TypeAlias = Callable[[int, int], None]
#: Called with a line of text for people.
Say: TypeAlias = Callable[[str], None]
