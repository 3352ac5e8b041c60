"""A real browser and the page in it, without a server of mien's. What is missing skips its tests."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.serving.web_export import export_web

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
#: npm's onnxruntime-web of the pinned version, packed or a folder: tests ask no network for it.
RUNTIME = os.environ.get("MIEN_WEB_RUNTIME")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Starts a headless Chromium with options: a context manager."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium here; install Debian's chromium")
    with playwright.sync_playwright() as started:
        # Root, as in a container, has no sandbox of Chromium's.
        options = ["--no-sandbox"] * (hasattr(os, "geteuid") and os.geteuid() == 0)
        yield lambda *more: started.chromium.launch(
            executable_path=CHROMIUM, args=[*options, *more]
        )


@pytest.fixture(scope="session")
def browser(chromium: Any) -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an exported site, served by Python's own file server."""
    if RUNTIME is None:
        pytest.skip("MIEN_WEB_RUNTIME names no package onnxruntime-web; see docs/page.md")
    made = export_web(tmp_path_factory.mktemp("web") / "site", runtime=Path(RUNTIME))
    handler = functools.partial(_Quiet, directory=made.path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass
