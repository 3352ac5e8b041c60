"""What tests of the service send, and how they look at what comes back."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import httpx
import numpy as np
from PIL import Image
from stand_in import photo

PHOTO = photo().read_bytes()


def picture(kind: str = "PNG", *, level: int = 128, size: tuple[int, int] = (48, 48)) -> bytes:
    """A ready face, encoded: gray, a little lighter to the bottom."""
    rows = np.linspace(0, 40, size[1], dtype=np.uint8)[:, None] + level
    out = io.BytesIO()
    Image.fromarray(np.repeat(rows.astype(np.uint8), size[0], axis=1)).save(out, kind)
    return out.getvalue()


def post(client: httpx.Client, content: bytes, kind: str = "image/png", query: str = "") -> Any:
    """Send one body to /v1/recognise."""
    return client.post(f"/v1/recognise{query}", content=content, headers={"content-type": kind})


def files(*pictures: bytes, field: str = "images") -> list[tuple[str, tuple[str, bytes, str]]]:
    """Files of a form."""
    return [
        (field, (f"{number}.png", content, "image/png")) for number, content in enumerate(pictures)
    ]


def base64_of(*pictures: bytes) -> dict[str, list[str]]:
    """The same as JSON."""
    return {"images": [base64.b64encode(content).decode() for content in pictures]}


def problem(response: httpx.Response) -> dict[str, Any]:
    """The problem of an answer that is one, whole and in one plain sentence."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    told: dict[str, Any] = response.json()
    check_problem(told, response.status_code)
    return told


def check_problem(told: dict[str, Any], status: int) -> None:
    """RFC 9457, and the house's rule of one sentence that tells nothing of the inside."""
    assert set(told) == {"type", "title", "status", "detail"}
    assert told["status"] == status
    assert told["title"]
    detail = told["detail"]
    assert 20 < len(detail) < 400
    assert "\n" not in detail
    for inside in ("Traceback", "Error(", str(Path.home()), gettempdir(), "object at 0x"):
        assert inside not in detail
