"""How work tells of itself: `progress` of how far it is, `say` in lines for people, `on_...` of an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: Called now and then with (done, in all).
Progress: TypeAlias = Callable[[int, int], None]
#: Called with a line for people.
Say: TypeAlias = Callable[[str], None]
