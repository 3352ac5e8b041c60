"""A model file gets the report that a run gets: beside it, or in --out."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

import mien
from mien import api, cli
from mien.errors import InputError
from mien.pages.report import EXPLAINED
from mien.recognise.model_file import digest_of, sealed
from mien.recognise.naming import packaged, packaged_model

DATA = "synthetic:35"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(packaged_model())
    return path


def test_the_report_of_a_model_file_is_beside_it(file, capsys):
    command = ["evaluate", str(file), "--data", DATA, "--tta", "none"]
    for split in ("validation", "test"):
        assert cli.run([*command, "--split", split]) == 0
    folder = file.with_name("mine-report")
    assert f"report: {folder / 'report.html'}" in capsys.readouterr().err
    page = (folder / "report.html").read_text("utf-8")
    for shown in (packaged()[0].name, "Validation", "Test", "as it answers", "confident mistakes"):
        assert shown in page
    assert 2 <= page.count('alt="the same face: red for') <= 2 * EXPLAINED
    assert "evaluate again" not in page  # both are of this file's weights
    assert page.count("<h3>The most confident mistakes</h3>") == 2
    for split in ("validation", "test"):
        kept = json.loads((folder / f"evaluation-{split}.json").read_text())
        assert kept["weights_sha256"] == packaged()[0].card.digest
        assert (folder / f"probabilities-{split}.csv").is_file()
    assert not (folder / "recipe.json").exists()  # nobody takes it for a run


def test_a_packaged_models_report_is_below_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = packaged()[0].name
    mien.evaluate(name, DATA, tta="none")
    assert (tmp_path / f"{name}-report" / "report.html").is_file()


def test_out_is_the_folder_of_one_model_file(file, tmp_path, capsys):
    out = tmp_path / "elsewhere"
    command = ["evaluate", str(file), "--data", DATA, "--tta", "none", "--out", str(out)]
    assert cli.run(command) == 0
    assert (out / "report.html").is_file()
    assert not file.with_name("mine-report").exists()

    assert cli.run([*command, str(file)]) == 2
    assert "one model file" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    with pytest.raises(InputError, match="holds a run"):
        mien.evaluate(file, DATA, out=tmp_path / "run")
    with pytest.raises(InputError, match="--out is for model files only"):
        mien.evaluate(tmp_path / "run", DATA, out=out)


def test_a_recipe_that_is_none_of_miens_is_said_before_anything_is_scored(file, capsys):
    model = onnx.load_from_string(packaged_model())
    model.ClearField("metadata_props")
    graph, card = model.SerializeToString(), packaged()[0].card
    recipe = {**card.provenance["recipe"], "moonlight": 1}
    told = replace(card, digest=digest_of(graph), provenance={**card.provenance, "recipe": recipe})
    file.write_bytes(sealed(graph, told))
    assert cli.run(["evaluate", str(file), "--data", DATA, "--tta", "none"]) == 2
    assert "the recipe in its card: a recipe has no field 'moonlight'" in capsys.readouterr().err
    assert not file.with_name("mine-report").exists()


def test_scores_need_no_extra_and_say_what_the_page_needs(file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    command = ["evaluate", str(file), "--data", DATA, "--tta", "none"]
    assert cli.run(command) == 0
    folder = file.with_name("mine-report")
    assert "mien[report]" in capsys.readouterr().err
    assert (folder / "evaluation-validation.json").is_file()
    assert not (folder / "report.html").exists()
    assert cli.run([*command, "--out", str(folder)]) == 2


@pytest.mark.slow
def test_corruptions_of_a_model_file_are_written_too(file, monkeypatch):
    from mien import evaluation

    found = []
    real = evaluation.evaluate_corrupted

    def one(*arguments, **options):
        made = real(*arguments, **options)
        found.append(made)
        return replace(made)

    monkeypatch.setattr(evaluation, "evaluate_corrupted", one)
    api.evaluate_corrupted(file, DATA)
    folder = file.with_name("mine-report")
    assert (folder / f"{found[0].file_name}.html").is_file()
    assert (folder / f"{found[0].file_name}.json").is_file()


def test_corruptions_leave_damaged_pictures_out_too(file, tmp_path, monkeypatch, capsys):
    from mien import evaluation

    def counted(subject, *_, **__):
        raise InputError(f"{len(subject.faces)} faces")

    monkeypatch.setattr(evaluation, "evaluate_corrupted", counted)
    names = packaged()[0].card.expressions
    for place, name in enumerate(names):
        (tmp_path / "data" / "validation" / name).mkdir(parents=True)
        gray = np.full((48, 48), 20 * place, np.uint8)
        Image.fromarray(gray).save(tmp_path / "data" / "validation" / name / "1.png")
    (tmp_path / "data" / "validation" / names[0] / "2.png").write_bytes(b"no picture")
    command = ["evaluate", str(file), "--data", str(tmp_path / "data"), "--corruptions"]
    assert cli.run(command) == 2
    assert "leave it out with --skip-damaged" in capsys.readouterr().err
    assert cli.run([*command, "--skip-damaged"]) == 2
    assert f"{len(names)} faces" in capsys.readouterr().err
