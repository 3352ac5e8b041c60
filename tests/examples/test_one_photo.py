"""The Space and the notebook for one photo: what they say first, and that they answer as mien does."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import numpy as np
import pytest

import mien
from mien.recognise.pictures import read_picture

EXAMPLES = Path(__file__).parents[2] / "examples"
SPACE = EXAMPLES / "space" / "app.py"
NOTEBOOK = EXAMPLES / "photo_on_colab.ipynb"
PHOTO = resources.files("mien").joinpath("serving/page/example.jpg")
#: What a first screen says: what is inferred, that nothing is kept, what the law forbids, and where it stands.
SAID = (
    "seven expressions",
    "not a feeling",
    "kept**: nothing",
    "European Union",
    "at work and in education",
    "eur-lex.europa.eu",
    "model-card.md#the-law-in-plain-words",
)


def code(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


@pytest.fixture
def gradio(monkeypatch) -> ModuleType:
    """Gradio's names, as far as the Space uses them: a component is what it was made with."""
    stand_in = ModuleType("gradio")
    for name in ("Image", "Textbox"):
        setattr(stand_in, name, lambda **given: given)
    stand_in.Interface = lambda fn, **given: {"fn": fn, **given}  # type: ignore[attr-defined]
    stand_in.Error = type("Error", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gradio", stand_in)
    return stand_in


def test_the_space_answers_as_mien_does(gradio):
    demo: dict[str, Any] = runpy.run_path(str(SPACE))["demo"]
    photo = read_picture(Path(str(PHOTO)))
    faces = mien.Recognizer().recognize(photo)

    picture, said = demo["fn"](photo)

    assert np.array_equal(picture, faces.plot())
    assert said.startswith(f"{faces[0].expression} {faces[0].probability:.0%}")
    assert demo["fn"](np.full((90, 90, 3), 90, np.uint8))[1] == "No face was found."
    with pytest.raises(gradio.Error, match="photo"):
        demo["fn"](None)
    assert (demo["flagging_mode"], demo["delete_cache"]) == ("never", (60, 60))
    assert demo["inputs"]["type"] == "numpy"
    assert [part for part in SAID if part not in " ".join(demo["description"].split())] == []


def test_the_real_gradio_takes_it():
    pytest.importorskip("gradio", reason="gradio is not installed; it is no dependency")
    runpy.run_path(str(SPACE))


def test_the_notebook_says_first_what_it_does_and_answers(tmp_path, monkeypatch, capsys):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    first = " ".join(notebook.cells[0].source.replace(", by mien", "").split())
    assert [part for part in SAID if part not in first] == []
    assert not any(cell.get("outputs") for cell in notebook.cells)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for source in code(NOTEBOOK):
        # The line of Jupyter's is for who has no mien.
        exec(source.replace("%pip install", "pass  # "), namespace)  # noqa: S102
    (face,) = mien.Recognizer().recognize(PHOTO.read_bytes())
    assert capsys.readouterr().out.startswith(f"{face.expression} {face.probability:.0%}")
    assert namespace["faces"]._repr_png_()


def test_both_are_short_and_name_one_repository():
    assert len(SPACE.read_text(encoding="utf-8").splitlines()) < 40
    assert sum(len(source.splitlines()) for source in code(NOTEBOOK)) < 40
    named = {
        ast.literal_eval(found)
        for path in EXAMPLES.glob("*.ipynb")
        for found in re.findall(r'^REPOSITORY = (".*?")', "\n".join(code(path)), re.MULTILINE)
    }
    assert len(named) == 1
    needs = (EXAMPLES / "space" / "requirements.txt").read_text(encoding="utf-8")
    (address,) = named
    assert (f"mien @ {address}" in needs.splitlines()) == bool(address)
