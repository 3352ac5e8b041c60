"""The report: holds the figures of the JSON, loads nothing, escapes what it shows."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError, MissingExtraError
from mien.evaluation import Evaluation, score
from mien.evaluation.text import figure_text
from mien.expressions import SEVEN
from mien.pages import write_report
from mien.recipe import to_dict
from mien.runs import RunFolder

BOTH = ("test", "validation")
VOID = {"meta", "img", "br", "link", "use", "input", "hr"}


class Page(HTMLParser):
    """Collects every attribute that could load something, ids, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loaded, self.ids, self.open, self.text = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.loaded.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def store(make_store):
    return make_store([0] * 30 + [1] * 40 + [2] * 40)


@pytest.fixture(scope="module")
def reported(store, predict, make_run_in, tmp_path_factory):
    """A run evaluated on both splits, and its report. Not to be changed: `copied` is for that."""
    run = make_run_in(tmp_path_factory.mktemp("report") / "run", name="run")
    for split, rows in (("validation", np.arange(30, 70)), ("test", np.arange(70, 110))):
        evaluation = score(predict, store.faces(rows), store.digests[:30], split=split)
        replace(evaluation, command=f"mien evaluate run --split {split}").save(run)
    path = write_report(run, {"test": store.faces(np.arange(70, 110))})
    return run, path


@pytest.fixture
def copied(reported, tmp_path):
    """The run of `reported`, evaluated on test alone, to do as one likes with."""
    run = RunFolder(shutil.copytree(reported[0].path, tmp_path / "copy"))
    run.evaluation_path("validation").unlink()
    return run


def test_report_holds_the_figures_of_the_json(reported):
    run, path = reported
    assert path == run.path / "report.html"
    text = path.read_text()
    for split in ("validation", "test"):
        content = run.evaluation(split)
        for view in content["views"].values():
            for name, key in (
                ("accuracy", "accuracy"),
                ("balanced", "balanced_accuracy"),
                ("cross-entropy", "cross_entropy"),
                ("error", "calibration_error"),
            ):
                assert figure_text(name, view["official"][key]) in text
            assert figure_text("accuracy", view["deduplicated"]["accuracy"]) in text
        assert content["command"] in text
    assert "mien train run --data synthetic" in text
    assert "optimizer.lr" in text
    assert run.environment()["data"]["fingerprint"] in text
    assert "overfitting gap" in text


def test_headline_is_the_test_score_with_its_interval(reported):
    run, path = reported
    scores = run.evaluation("test")["views"]["none"]["official"]
    headline = path.read_text().split("headline")[-1][:700]
    low, high = scores["accuracy_interval"]
    assert figure_text("accuracy", scores["accuracy"]) in headline
    assert f"{100 * low:.2f} to {100 * high:.2f}" in headline


def test_report_is_whole_in_itself(reported):
    page = Page(reported[1].read_text())
    assert not page.open
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in page.loaded)
    assert "http" not in reported[1].read_text()
    assert len(page.ids) == len(set(page.ids))
    css = reported[1].read_text().split("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css
    assert "prefers-color-scheme: dark" in css


def test_references_inside_the_drawings_resolve(reported):
    text = reported[1].read_text()
    wanted = re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'href="#([^"]+)"', text)
    assert wanted
    assert set(wanted) <= set(Page(text).ids)


def test_pngs_lie_beside_the_report(reported):
    names = {path.stem for path in reported[0].path.glob("*.png")}
    assert names == {
        "curves-accuracy",
        "curves-loss",
        "calibration",
        "risk-coverage",
        *(f"{kind}-{s}" for kind in ("confusion", "per-class", "reliability") for s in BOTH),
    }
    for path in reported[0].path.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 500


def test_pictures_are_the_most_confident_mistakes(reported, store, predict):
    images = re.findall(r"data:image/png;base64,([^\"]+)", reported[1].read_text())
    test = store.faces(np.arange(70, 110))
    probabilities = predict(test.pixels())
    wrong = probabilities.argmax(axis=1) != test.labels
    worst = np.argsort(np.where(wrong, -probabilities.max(axis=1), 1))
    assert len(images) == min(24, wrong.sum())
    for i in (0, 1):
        face = np.array(Image.open(io.BytesIO(base64.b64decode(images[i]))))
        assert np.array_equal(face, test.pixels()[worst[i], 0])


def test_without_faces_there_are_no_pictures(copied):
    text = write_report(copied).read_text()
    assert "data:image" not in text
    assert "confident mistakes" not in text


def test_colour_faces_are_pictured_too(make_store, make_run):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)
    store = make_store([2] * 9, pixels=pixels)
    run = make_run()
    wrong = np.roll(np.eye(7, dtype=np.float32)[store.labels], 1, axis=1)
    faces = store.faces(np.arange(9))
    score(lambda _: wrong, faces, store.digests[:0], split="test").save(run)
    text = write_report(run, {"test": faces}).read_text()
    assert text.count("data:image/png") == 9
    assert "hold no training faces" in text


def test_odd_file_names_are_found_again(make_store, make_run):
    store = make_store([2] * 3)
    rows = ["-one/a.png", "=b.png", b"gl\xfccklich.png".decode(errors="surrogateescape")]
    store = replace(store, rows=np.array(rows))
    run = make_run()
    wrong = np.roll(np.eye(7, dtype=np.float32)[store.labels], 1, axis=1)
    faces = store.faces(np.arange(3))
    score(lambda _: wrong, faces, store.digests[:0], split="test").save(run)
    assert write_report(run, {"test": faces}).read_text().count("data:image/png") == 3
    assert Evaluation.load(run, "test").rows.tolist() == ["./-one/a.png", "./=b.png", rows[2]]


def test_refuses_pictures_of_other_faces_before_anything_is_written(copied, store):
    before = {path.name: path.stat().st_mtime_ns for path in copied.path.iterdir()}
    with pytest.raises(InputError, match="has no face"):
        write_report(copied, {"test": store.faces(np.arange(10))})
    assert before == {path.name: path.stat().st_mtime_ns for path in copied.path.iterdir()}


def test_everything_a_user_named_is_escaped(make_run, make_store):
    evil = "<script>alert(1)</script>&\"'$x_{$"
    run = make_run()
    labels = (evil, "--><img src=x>", "c")
    recipe = to_dict(run.recipe()) | {
        "name": evil,
        "model": {"name": evil},
        "expressions": list(labels),
    }
    run.recipe_path.write_text(json.dumps(recipe))
    environment = run.environment() | {"command": evil, "device": evil}
    run.environment_path.write_text(json.dumps(environment))
    store = make_store([2] * 6, expressions=labels, source=evil)
    even = np.full((6, 3), 1 / 3, dtype=np.float32)
    faces = store.faces(np.arange(6))
    score(lambda _: even, faces, store.digests[:0], ("none",), split="test").save(run)
    page = Page(write_report(run, {"test": faces}).read_text())
    assert "script" not in page.tags
    assert page.tags.count("img") == 4
    assert any("<script>alert(1)" in text for text in page.text)


def test_names_in_any_script_are_shown(make_run, make_store):
    store = make_store([2] * 4, expressions=("喜び", "悲しみ"))
    run = make_run()
    even = np.full((4, 2), 0.5, dtype=np.float32)
    score(lambda _: even, store.faces(np.arange(4)), store.digests[:0], split="test").save(run)
    assert "悲しみ</text>" in write_report(run).read_text()


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_a_run_that_was_not_evaluated_reports_its_training(make_run, epochs):
    text = write_report(make_run(epochs=epochs)).read_text()
    assert "Not evaluated yet" in text
    assert text.count("<svg") == (2 if epochs else 0)


def test_an_environment_is_not_needed(make_run):
    assert "Environment</h3>" not in write_report(make_run(environment=False)).read_text()


def test_report_warns_of_scores_of_other_weights_or_data(copied, make_store, predict):
    other = make_store([0] * 10 + [2] * 10, fingerprint="0" * 64, source="elsewhere")
    evaluation = score(predict, other.faces(np.arange(10, 20)), other.digests[:10], split="test")
    replace(evaluation, weights="1" * 64).save(copied)
    text = write_report(copied).read_text()
    assert "belong to other weights" in text
    assert "made on other data (elsewhere)" in text


def test_without_matplotlib_the_message_says_what_to_install(copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "mien.pages.figure", raising=False)  # it stands on that
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[report\]'"):
        write_report(copied)


def test_expressions_without_faces_are_drawn(make_run, make_store):
    store = make_store([2] * 3, labels=[0, 0, 1])
    run = make_run()
    certain = np.eye(7, dtype=np.float32)[[0, 1, 1]]
    score(lambda _: certain, store.faces(np.arange(3)), store.digests[:0], split="test").save(run)
    text = write_report(run).read_text()
    assert SEVEN[6] in text
