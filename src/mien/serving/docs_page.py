"""The OpenAPI description as a page for people."""

from __future__ import annotations

from typing import Any


def rendered(described: dict[str, Any]) -> str:
    return "<!doctype html><title>mien</title>"
