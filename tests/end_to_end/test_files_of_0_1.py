"""What version 0.1 wrote still opens, and says what it said: a run, its evaluation, a model file.

`files_of_0_1/` was written by mien 0.1.0 (README.md there has the commands): a tiny network, one epoch, drawn faces.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mien
from mien import cli
from mien.data.synthetic import synthetic_faces
from mien.evaluation import Evaluation
from mien.models import load_classifier
from mien.recognise.model import FaceModel
from mien.runs import RunFolder

KEPT = Path(__file__).parent / "files_of_0_1"


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([face for _, face in synthetic_faces(14, 1)])


@pytest.fixture(scope="module")
def said() -> dict[str, list[list[float]]]:
    told: dict[str, list[list[float]]] = json.loads((KEPT / "answers.json").read_text("utf-8"))
    return told


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A copy: nothing is written into the kept one."""
    return RunFolder.open(shutil.copytree(KEPT / "run", tmp_path / "run"))


def test_a_model_file_answers_as_it_did(faces, said):
    model = FaceModel.open(KEPT / "model.onnx")
    shape = model.card.input.shape
    assert np.allclose(model(faces.reshape(-1, *shape)), said["model"], atol=1e-5)
    # The recogniser takes it as it takes any.
    (face,) = mien.Recognizer(KEPT / "model.onnx", detector="none").recognize(faces[0])
    assert face.probabilities == pytest.approx(
        dict(zip(model.card.expressions, said["model"][0], strict=True)), abs=1e-5
    )


def test_a_run_opens_and_answers_as_it_did(run, faces, said, capsys):
    classifier = load_classifier(run, "cpu")
    assert np.allclose(classifier(faces[:, None]), said["run"], atol=1e-5)
    kept = json.loads(run.evaluation_path("validation").read_text("utf-8"))
    scores = Evaluation.load(run, "validation").scores["none"].official
    assert scores.accuracy == kept["views"]["none"]["official"]["accuracy"]
    assert len(run.history()) == 1
    assert cli.run(["compare", str(run.path)]) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_scored_and_exported_today(run, tmp_path):
    before = Evaluation.load(run, "validation").scores["none"].official.accuracy
    mien.evaluate(run, device="cpu")
    assert Evaluation.load(run, "validation").scores["none"].official.accuracy == before
    mien.export(run, tmp_path / "new.onnx")
    assert FaceModel.open(tmp_path / "new.onnx").card.expressions


def test_they_are_small():
    assert sum(path.stat().st_size for path in KEPT.rglob("*") if path.is_file()) < 200_000
