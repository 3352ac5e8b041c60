"""Fixtures for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

# A check says the same of the same code each time; with MIEN_EXAMPLES, chance looks further.
hypothesis.settings.register_profile("check", derandomize="MIEN_EXAMPLES" not in os.environ)
hypothesis.settings.load_profile("check")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never touch the user's cache; what one reads, the others of the session find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
