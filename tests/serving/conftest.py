"""Services that really listen, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from services import Gate, Running, running


@pytest.fixture
def serve() -> Iterator[Any]:
    """Starts services, with a model and settings of one's own."""
    with ExitStack() as stack:
        yield lambda *model, **settings: stack.enter_context(running(*model, **settings))


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    """One service as it is by default; a module's tests share it."""
    with running() as one:
        yield one


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A network that waits while `open` is not set; in the end it is."""
    made = Gate()
    yield made
    made.open.set()
