"""The whole way on the embedded data: train, evaluate, report, as a person would."""

import json

import pytest

from mien import api
from mien.runs import RunFolder


@pytest.mark.slow
def test_the_embedded_default_trains_to_an_honest_report(tmp_path):
    run = api.train(
        "four-block-cnn", "synthetic", tmp_path / "run", overrides=["epochs=6"], device="cpu"
    )
    validation = api.evaluate(run, split="validation", device="cpu")
    test = api.evaluate(run.path, "synthetic", "test", tta="ten", device="cpu")
    accuracy = test.scores["none"].official.accuracy
    assert accuracy > 0.7
    assert set(test.scores) == {"none", "ten"}
    history = run.history()
    best = max(row["validation_accuracy"] for row in history)
    assert validation.scores["none"].official.accuracy == pytest.approx(best)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"{100 * accuracy:.2f}" in page
    saved = json.loads(RunFolder.open(run.path).evaluation_path("test").read_text())
    assert saved["views"]["none"]["official"]["accuracy"] == accuracy
