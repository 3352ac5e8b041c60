"""The site builds without a warning, is complete, and needs nobody but its own host."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from blocks import ROOT

import mien
import mien.cli

#: Attributes by which a page fetches something without being asked; a link (`a href`) is not one.
FETCHED = {"src", "srcset", "data", "poster", "action"}
#: Of `link`, what is fetched; `canonical` and the like are only said.
LINKED = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "modulepreload",
    "preconnect",
    "dns-prefetch",
}


#: Words that people look for, and what stands in an answer to each.
SEARCHED = {
    "tracker": "Add a tracker",
    "webcam": "webcam",
    "emotion": "emotion",
    "deepface": "Coming from fer, deepface or hsemotion",
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Fetches(HTMLParser):
    """What a page makes a browser fetch, and the text of its own scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.code: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        self.addresses += [value for name, value in given.items() if name in FETCHED]
        if tag == "link" and LINKED & set(given.get("rel", "").split()):
            self.addresses.append(given["href"])
        self._inside = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.code.append(data)


@pytest.mark.slow
def test_no_page_asks_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        found = Fetches(page.read_text(encoding="utf-8"))
        assert found.addresses
        for address in found.addresses:
            assert not re.match(r"(https?:)?//", address), f"{page.name} fetches {address}"
        for code in found.code:
            assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", code), page.name
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        for address in re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", style.read_text("utf-8")):
            assert not re.match(r"""["']?(https?:)?//""", "".join(address)), (style.name, address)


@pytest.mark.slow
def test_a_browser_asks_no_other_host_and_finds(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here; install Debian's chromium")
    handler = functools.partial(QuietHandler, directory=str(site))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        playwright.sync_playwright() as started,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}/"
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page, asked, errors = browser.new_page(), [], []
        page.set_default_timeout(120_000)  # a busy machine
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name in ("index.html", "api.html", "architecture.html"):
            page.goto(home + name, wait_until="networkidle")
        page.click("input.md-search__input")
        for word, title in SEARCHED.items():
            page.fill("input.md-search__input", "")
            # By keys: the site's search looks again when one goes up.
            page.locator("input.md-search__input").press_sequentially(word)
            page.wait_for_selector(f".md-search-result__item:has-text('{title}')")
        browser.close()
        server.shutdown()
    assert [url for url in asked if not url.startswith(home)] == []
    assert not errors


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Says nothing of what it was asked for."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_every_command_has_its_place(site):
    page = (site / "cli.html").read_text(encoding="utf-8")
    root = typer.main.get_command(mien.cli.app)
    headings = {re.sub("<.*?>", "", text) for text in re.findall(r"<h[23][^>]*>(.*?)<a ", page)}
    for name, command in root.commands.items():
        assert f"mien {name}" in headings
        for inner in getattr(command, "commands", ()):
            assert f"mien {name} {inner}" in headings
    assert "--checkpoint-every" in page


@pytest.mark.slow
def test_every_public_name_is_documented(site):
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in mien.__all__:
        if name != "__version__":
            assert re.search(rf'id="mien\.{name}"', page), name
    for home in (
        "training.Recipe",
        "evaluation.compare",
        "models.register",
        "predict_on_ray.recognise",
    ):
        assert f'id="mien.{home}"' in page


@pytest.mark.slow
def test_pictures_are_there_and_small(site):
    pictures = list((site / "pictures").iterdir())
    assert pictures
    assert all(picture.stat().st_size < 200_000 for picture in pictures)
