"""Other label sets all the way: prepared, trained, scored, exported, recognised, served, drawn on the page."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageColor

from mien import Recognizer, cli
from mien.colours import colours_of
from mien.data.ferplus import EIGHT, ROWS
from mien.data.synthetic import synthetic_faces
from mien.expressions import SEVEN
from mien.recipe import Optimizer, Schedule
from mien.training import ModelSpec, Recipe, to_dict

pytestmark = pytest.mark.slow

THREE = ("bored", "cross", "grinning")
#: What a class of one's own looks like in drawn faces.
LOOKS = {"neutral": "bored", "angry": "cross", "happy": "grinning"}
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def mien(capsys, *arguments) -> tuple[str, str]:
    """A command that has to go well: (standard output, standard error)."""
    status = cli.run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out, err


@pytest.fixture
def small(tmp_path) -> Path:
    """A recipe of a small network that learns drawn faces in seconds."""
    recipe = Recipe(
        name="small",
        model=ModelSpec("four-block-cnn", {"width": 0.25}),
        optimizer=Optimizer(lr=3e-3),
        schedule=Schedule(name="one-cycle"),
        epochs=20,
        batch_size=16,
        precision="float32",
    )
    path = tmp_path / "small.json"
    path.write_text(json.dumps(to_dict(recipe)))
    return path


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The address of a `mien serve` of a model file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0", "--model", str(model)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    try:
        line = process.stderr.readline()
        (url,) = re.findall(r"served at (http://\S+) ", line) or [line]
        yield url
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()


def check_use(
    model: Path, labels: tuple[str, ...], faces: dict[str, list[bytes]], accuracy: float
) -> None:
    """Recogniser, service and page know these labels, and agree on faces that are cut out already.

    `accuracy` is what `mien evaluate` says of those faces: the recogniser is right as often.
    """
    recognizer = Recognizer(model, detector="none")
    answers = {name: recognizer.recognize(pictures) for name, pictures in faces.items()}
    told = {name: answered[0][0] for name, answered in answers.items()}
    assert all(tuple(face.probabilities) == labels for face in told.values())
    right = [face.expression == name for name in faces for (face,) in answers[name]]
    assert abs(np.mean(right) - accuracy) <= 1.5 / len(right)  # arithmetic may turn one face
    with served(model) as url:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            assert tuple(client.get("/v1/model").json()["expressions"]) == labels
            for name, (picture, *_) in faces.items():
                answer = client.post(
                    "/v1/recognise?detector=none",
                    content=picture,
                    headers={"content-type": "image/png"},
                ).json()
                (face,) = answer["images"][0]["faces"]
                assert set(face["probabilities"]) == set(labels)
                assert face["expression"] == told[name].expression
        name = labels[0]
        check_page(url, labels, name, faces[name][0], told)


def check_page(url, labels, name, picture, told) -> None:
    """The page draws a bar for every label, with the recogniser's figures; where there is a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return
    if CHROMIUM is None:
        return
    with sync_playwright() as playwright:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] * root)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
        page.check("#ready")
        page.evaluate(
            """(content) => {
                const carried = new DataTransfer();
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                carried.items.add(new File([bytes], "face.png", { type: "image/png" }));
                const event = new ClipboardEvent("paste", { clipboardData: carried, bubbles: true });
                document.querySelector("main").dispatchEvent(event);
            }""",
            base64.b64encode(picture).decode(),
        )
        page.wait_for_selector(".face strong")
        drawn = page.locator(".face .bars li .name").all_inner_texts()
        best = page.locator(".face .bars li.best .name").all_inner_texts()
        colours = [
            bar.evaluate("bar => bar.style.backgroundColor")
            for bar in page.locator(".face .bars .fill").all()
        ]
        browser.close()
    assert not wrong
    assert tuple(drawn) == labels
    assert best == [told[name].expression]
    assert colours == [f"rgb{ImageColor.getrgb(colour)}" for colour in colours_of(labels)]


def png(face: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(face).save(stream, "PNG")
    return stream.getvalue()


def test_a_user_s_own_three_classes(capsys, tmp_path, small):
    data, others = tmp_path / "faces", tmp_path / "others"
    for split, count, seed in (("train", 1050, 1), ("test", 140, 2)):
        for number, (label, face) in enumerate(synthetic_faces(count, seed)):
            if name := LOOKS.get(SEVEN[label]):
                folder = data / split / name
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{number}.png").write_bytes(png(face))
    run, model = tmp_path / "run", tmp_path / "three.onnx"
    labels = ["--labels", ",".join(THREE)]
    chosen = ["--device", "cpu"]
    # A tenth of the 450 training faces would be drawn to validate: too few to calibrate by.
    holdout = ["--set", "split.holdout=0.3"]
    mien(capsys, "train", small, "--data", data, "--out", run, *labels, *chosen, *holdout)
    out, _ = mien(capsys, "evaluate", run, "--split", "test", "--device", "cpu", "--json")
    (scores,) = json.loads(out)["evaluations"]
    assert scores["expressions"] == list(THREE)
    assert scores["across"] is None
    accuracy = scores["views"]["none"]["official"]["accuracy"]
    assert accuracy > 0.6
    mien(capsys, "export", run, "--out", model)
    faces = {name: sorted((data / "test" / name).iterdir()) for name in THREE}
    test = {name: [face.read_bytes() for face in paths] for name, paths in faces.items()}
    check_use(model, THREE, test, accuracy)

    # Faces that it never saw, two of its classes under other names, and one that it does not know.
    renamed = {"angry": "Cross!", "happy": "smiling", "surprise": "astonished"}
    for number, (label, face) in enumerate(synthetic_faces(140, 3)):
        if name := renamed.get(SEVEN[label]):
            (others / name).mkdir(parents=True, exist_ok=True)
            (others / name / f"{number}.png").write_bytes(png(face))
    assert cli.run(["evaluate", str(model), "--data", str(others)]) == 2
    said = capsys.readouterr().err
    assert "'astonished' and no 'cross!' and no 'smiling'" in said
    assert '--map "astonished=,cross!=,smiling="' in said
    mapping = ["--map", "Cross!=cross,smiling=grinning,astonished="]
    answers = []
    for judged in (run, model):
        out, _ = mien(capsys, "evaluate", judged, "--data", others, *mapping, "--json")
        answers.append(json.loads(out)["evaluations"][0])
    for answer in answers:
        assert answer["expressions"] == ["cross", "grinning"]
        assert answer["across"]["left_out"] == {"astonished": 20}
        assert answer["counts"]["faces"] == 40
        own = answer["across"]["own_answers"]["none"]["accuracy"]
        assert 0.5 < own <= answer["views"]["none"]["official"]["accuracy"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Other data: others" in page
    assert "cross! = cross, smiling = grinning" in page
    assert f"{100 * accuracy:.2f}" in page  # what was scored before is still there
    assert page.count("The most confident mistakes") == 2


def test_ferplus_with_contempt(capsys, tmp_path, small):
    """FER-2013's layout and FER+'s votes, drawn: contempt is a laughing face upside down."""
    usages = ["Training"] * 560 + ["PublicTest"] * 120 + ["PrivateTest"] * 120
    columns = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
               "unknown", "NF")  # fmt: skip
    ours = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
    rows, votes, seen = ["emotion,pixels,Usage"], [], {}
    for number, (label, face) in enumerate(synthetic_faces(len(usages), seed=9)):
        name = SEVEN[label]
        if name == "happy" and number % 2:
            name, face = "contempt", face[::-1]
        count = dict.fromkeys(columns, 0) | {columns[ours.index(name)]: 9, "unknown": 1}
        if number % 40 == 39:  # no two annotators agree enough
            count = dict.fromkeys(columns, 0) | {"neutral": 4, "anger": 4, "fear": 2}
        elif usages[number] == "PrivateTest":
            seen.setdefault(name, []).append(png(face))
        rows.append(f"{label},{' '.join(map(str, face.ravel()))},{usages[number]}")
        votes.append(f"{usages[number]},fer.png,{','.join(str(count[name]) for name in columns)}")
    (tmp_path / "fer2013.csv").write_text("\n".join(rows) + "\n")
    filler = ["Training,fer.png,10,0,0,0,0,0,0,0,0,0"] * (ROWS - len(votes))
    header = f"Usage,Image name,{','.join(columns)}"
    (tmp_path / "votes.csv").write_text("\n".join([header, *votes, *filler]) + "\n")

    table, run, model = (tmp_path / name for name in ("ferplus.parquet", "run", "eight.onnx"))
    said = ["--votes", tmp_path / "votes.csv"]
    out, err = mien(
        capsys, "data", "prepare", tmp_path / "fer2013.csv", *said, "--out", table, "--json"
    )
    prepared = json.loads(out)
    assert sum(prepared["counts"]["train"].values()) == 560 - 14
    assert prepared["unknown"] == 20
    assert f"--labels {','.join(EIGHT)}" in err
    labels = ["--labels", ",".join(EIGHT)]
    chosen = ["--device", "cpu"]
    mien(capsys, "train", small, "--data", table, "--out", run, *labels, *chosen)
    out, _ = mien(capsys, "evaluate", run, "--split", "test", *said, "--device", "cpu", "--json")
    (scores,) = json.loads(out)["evaluations"]
    assert scores["expressions"] == list(EIGHT)
    accuracy = scores["views"]["none"]["official"]["accuracy"]
    assert accuracy > 0.5
    # Its labels are the majority's: so is what it is scored against.
    people = scores["people"]
    assert people["labels"] == 1
    assert people["majority"]["value"] == accuracy
    assert people["elsewhere"] == 0
    mien(capsys, "export", run, "--out", model)
    check_use(model, EIGHT, seen, accuracy)
    # FER-2013 itself has no contempt: scores are over the seven that both know.
    out, _ = mien(
        capsys, "evaluate", model, "--data", tmp_path / "fer2013.csv", "--split", "test", "--json"
    )
    (scores,) = json.loads(out)["evaluations"]
    assert scores["expressions"] == list(SEVEN)
    assert scores["across"]["own_answers"]["none"]["elsewhere"] > 0
