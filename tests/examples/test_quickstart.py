"""The notebook does what it says, from top to bottom, and is stored clean."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

import mien
from mien.data import split
from mien.runs import RunFolder

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


@pytest.fixture(autouse=True)
def own_jupyter(tmp_path, monkeypatch):
    """Jupyter's own files go to a temporary place, and it keeps quiet about where they used to be."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))


def outputs(notebook, cell_id):
    """What a cell ended in: MIME type -> content."""
    cell = next(cell for cell in notebook.cells if cell.id == cell_id)
    return cell.outputs[-1].data


def test_the_stored_notebook_is_valid_and_holds_no_output():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.metadata.kernelspec.name) == (4, "python3")
    names = [cell.id for cell in notebook.cells]
    assert len(set(names)) == len(names)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.execution_count is None and not cell.outputs for cell in code)
    assert not any("attachments" in cell for cell in notebook.cells)
    assert "image/" not in NOTEBOOK.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_notebook_trains_scores_and_predicts(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("probabilities.tolist()", id="asked"))
    here = tmp_path / "here"
    here.mkdir()
    nbclient.NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(here)}}
    ).execute()

    run = RunFolder.open(here / "runs" / "dropout-cnn")
    scores = json.loads(run.evaluation_path("test").read_text())["views"]["none"]
    table = outputs(notebook, "test")["text/html"]
    low, high = scores["official"]["accuracy_interval"]
    assert f"{100 * scores['official']['accuracy']:.2f} %" in table
    assert f"{100 * low:.2f} to {100 * high:.2f}" in table
    assert re.search(
        rf"deduplicated accuracy\W+{100 * scores['deduplicated']['accuracy']:.2f} %", table
    )

    # Scored once more by hand: far from the 14 % of guessing, and what the run says.
    from mien.models import load_classifier

    classifier = load_classifier(run)
    test = split(mien.load("synthetic:3000")).test
    probabilities = classifier(test.pixels())
    right = float((probabilities.argmax(axis=1) == test.labels).mean())
    assert right > 0.6
    assert scores["official"]["accuracy"] == pytest.approx(right, abs=0.005)
    asked = json.loads(outputs(notebook, "asked")["text/plain"])
    assert np.allclose(asked, probabilities[:12], atol=1e-3)

    for name in ("look", "accuracy", "loss", "confusion", "ask"):
        with Image.open(io.BytesIO(base64.b64decode(outputs(notebook, name)["image/png"]))) as png:
            assert min(png.size) > 300
            assert np.asarray(png.convert("L")).std() > 10
    assert (here / "runs" / "dropout-cnn" / "report.html").is_file()
    assert "report.html" in outputs(notebook, "keep")["text/plain"]
