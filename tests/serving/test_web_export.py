"""The static site as files: what is in it, where its runtime comes from, what it does not overwrite."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

from mien.card import ModelCard
from mien.cli import run
from mien.decoding import MAX_PIXELS
from mien.errors import InputError
from mien.recognise.model_file import checked_card
from mien.recognise.naming import packaged_model
from mien.recognise.yunet import browser_detector
from mien.serving import web_export
from mien.serving.web_export import export_web

PARTS = {"ort.wasm.bundle.min.mjs": b"export {}", "ort-wasm-simd-threaded.wasm": b"\0asm"}
PAGE = Path(str(resources.files("mien.serving").joinpath("page")))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small onnxruntime-web, as npm packs it; the pins are its own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in {**PARTS, "ort.all.mjs": b"not needed"}.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    file = tmp_path / "onnxruntime-web.tgz"
    file.write_bytes(stream.getvalue())
    whole = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    each = {name: hashlib.sha256(content).hexdigest() for name, content in PARTS.items()}
    monkeypatch.setattr(web_export, "_PACKAGE_SHA512", whole)
    monkeypatch.setattr(web_export, "_PARTS_SHA256", each)
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return file


def _config(site: Path) -> Any:
    return json.loads((site / "config.json").read_text(encoding="utf-8"))


def test_a_site_holds_page_models_and_runtime(tmp_path: Path, package: Path) -> None:
    site = tmp_path / "site"
    made = export_web(site, runtime=package)
    config = _config(site)
    assert config["backend"] == "browser"
    parts = ("model", "detector")
    told = sum(len((site / config[part]).read_bytes()) for part in parts)
    assert config["bytes"] == told + len(PARTS["ort-wasm-simd-threaded.wasm"])
    assert (site / config["model"]).read_bytes() == packaged_model()
    assert (site / config["detector"]).read_bytes() == browser_detector()
    assert ModelCard.from_json(json.dumps(config["card"]), "site") == made.card
    assert made.card == checked_card(packaged_model(), "default")
    assert {file.name: file.read_bytes() for file in (site / "runtime").iterdir()} == PARTS
    ours = {file.name: file.read_bytes() for file in PAGE.iterdir() if file.name != "config.json"}
    assert ours.items() <= {f.name: f.read_bytes() for f in site.iterdir() if f.is_file()}.items()
    licences = (site / "licences.txt").read_text(encoding="utf-8")
    for said in ("Apache License", "MIT License", "Microsoft", "Shiqi Yu", made.card.licence):
        assert said in licences
    assert made.size == sum(file.stat().st_size for file in site.rglob("*") if file.is_file())


def test_the_page_is_whole_and_names_no_other_host() -> None:
    files = {file.name for file in PAGE.iterdir()}
    texts = {name: (PAGE / name).read_text("utf-8") for name in files if name != "example.jpg"}
    for name, text in texts.items():
        if name.endswith(".js"):
            wanted = re.findall(r'(?:from |import\(|new URL\()"(?:\./)?([\w.-]+\.js)"', text)
        else:
            wanted = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert set(wanted) <= files, name
        hosts = set(re.findall(r"\w+://[^\s\"'`)]+", text))
        assert hosts <= {"http://www.w3.org/2000/svg"}, name
    assert json.loads(texts["config.json"]) == {"backend": "server"}


def test_the_page_runs_under_a_strict_policy() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")
    assert "unsafe-inline" not in policy[1]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", html)


def test_the_detector_takes_pictures_of_any_size() -> None:
    session = onnxruntime.InferenceSession(browser_detector())
    seen = np.zeros((1, 3, 96, 160), np.float32)
    scores = session.run(["cls_8", "cls_32"], {"input": seen})
    assert [score.shape for score in scores] == [(1, 12 * 20, 1), (1, 3 * 5, 1)]


def test_a_site_is_replaced_and_other_folders_are_not(tmp_path: Path, package: Path) -> None:
    site = tmp_path / "site"
    export_web(site, runtime=package)
    (site / "stale.js").write_text("old")
    export_web(site, runtime=package)
    assert not (site / "stale.js").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["onnxruntime-web.tgz", "site"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="other things"):
        export_web(other, runtime=package)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="a file; give"):
        export_web(other / "thesis.txt", runtime=package)


def test_the_runtime_may_lie_unpacked(tmp_path: Path, package: Path) -> None:
    folder = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name, content in PARTS.items():
        (folder / name).write_bytes(content)
    export_web(tmp_path / "site", runtime=folder.parent)
    (folder / "ort.wasm.bundle.min.mjs").write_bytes(b"steal()")
    with pytest.raises(InputError, match="is not from onnxruntime-web"):
        export_web(tmp_path / "site", runtime=folder.parent)


def test_another_package_is_refused_and_nothing_is_left(tmp_path: Path, package: Path) -> None:
    package.write_bytes(package.read_bytes() + b"\0")
    with pytest.raises(InputError, match="not the npm package onnxruntime-web"):
        export_web(tmp_path / "site", runtime=package)
    with pytest.raises(InputError, match="no such file"):
        export_web(tmp_path / "site", runtime=tmp_path / "nowhere.tgz")
    assert [path.name for path in tmp_path.iterdir()] == [package.name]


def test_the_runtime_is_fetched_once(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Answer(io.BytesIO):
        headers: ClassVar[dict[str, str]] = {}

    def fetch(_: object, request: urllib.request.Request, timeout: float) -> Answer:
        assert timeout
        asked.append(request.full_url)
        return Answer(package.read_bytes())

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", fetch)
    monkeypatch.setenv("npm_config_registry", "https://mirror.example/npm")
    said: list[str] = []
    for _ in range(2):
        export_web(tmp_path / "site", say=said.append)
    wanted = f"onnxruntime-web/-/onnxruntime-web-{web_export.RUNTIME}.tgz"
    assert asked == [f"https://mirror.example/npm/{wanted}"]
    assert len(said) == 1
    (kept,) = (tmp_path / "cache").glob("onnxruntime-web-*/*.mjs")
    kept.write_bytes(b"damaged")
    export_web(tmp_path / "site", say=said.append)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("registry", "why"),
    [
        ("https://mirror.example", "no route to host"),
        ("http://mirror.example", "does not use https"),
    ],
)
def test_without_a_network_one_sentence_says_what_to_do(
    tmp_path: Path,
    package: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    registry: str,
    why: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", fail)
    monkeypatch.setenv("npm_config_registry", registry)
    assert run(["export-web", "--out", str(tmp_path / "site")]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert why in said
    assert "give it with --runtime FILE" in said
    assert not (tmp_path / "site").exists()


def test_the_command_says_what_it_wrote(
    tmp_path: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "mine.onnx"
    model.write_bytes(packaged_model())
    line = ["export-web", str(model), "--out", str(tmp_path / "site"), "--runtime", str(package)]
    assert run([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"]["digest"] == _config(tmp_path / "site")["card"]["digest"]
    assert told["runtime"] == web_export.RUNTIME
    model.write_bytes(b"no model")
    assert run(line) == 2
    assert "not a model file of mien" in capsys.readouterr().err


def test_a_site_has_the_card_of_its_model(tmp_path: Path, package: Path) -> None:
    export_web(tmp_path / "ours", runtime=package)
    assert _config(tmp_path / "ours")["card_page"] == "card.html"
    assert b"Model card: " in (tmp_path / "ours" / "card.html").read_bytes()

    model, card = tmp_path / "mine.onnx", tmp_path / "card.html"
    model.write_bytes(packaged_model())
    card.write_text("<!DOCTYPE html><title>mine</title>")
    export_web(tmp_path / "bare", model, runtime=package)
    assert _config(tmp_path / "bare")["card_page"] is None
    assert not (tmp_path / "bare" / "card.html").exists()
    export_web(tmp_path / "told", model, runtime=package, card_page=card)
    assert (tmp_path / "told" / "card.html").read_text() == card.read_text()


def test_a_browser_refuses_the_sizes_that_python_refuses():
    worker = resources.files("mien.serving").joinpath("page/worker.js").read_text(encoding="utf-8")
    (most,) = re.findall(r"const MOST_PIXELS = ([\d_]+);", worker)
    assert int(most) == MAX_PIXELS
