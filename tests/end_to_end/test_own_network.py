"""A network of one's own file: trained, scored, resumed and exported with it; never run from a run folder."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256

import pytest

import mien
from mien import cli
from mien.errors import InputError
from mien.runs import RunFolder

SOURCE = '''
from torch import nn

from mien.models import register


@register("{name}")
def build(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """One layer."""
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(36, classes))
'''
NAME = "one-layer-of-mine"
DATA = "synthetic:35"


def run_mien(capsys, *arguments):
    status = cli.run([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "my_network.py"
    path.write_text(SOURCE.format(name=NAME))
    return path


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mine"
    arguments = ["train", "four-block-cnn", "--data", DATA, "--out", str(out), "--device", "cpu"]
    assert (
        cli.run([*arguments, "--import", str(file), "--set", f"model.name={NAME}", "--epochs", "1"])
        == 0
    )
    return out


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, to do with as one likes."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def elsewhere(monkeypatch):
    """Another process: it has not imported the file."""
    from mien.models import networks, own

    monkeypatch.setattr(own, "_FROM", {})
    monkeypatch.setattr(own, "_DONE", set())
    parts = {name: part for name, part in networks._MODELS._parts.items() if name != NAME}
    monkeypatch.setattr(networks._MODELS, "_parts", parts)


def test_a_run_keeps_the_file_as_a_record(run, file):
    kept = RunFolder(run)
    assert kept.imported_path.read_bytes() == file.read_bytes()
    assert kept.imported() == {
        "file": "my_network.py",
        "sha256": sha256(file.read_bytes()).hexdigest(),
    }


def test_without_the_file_nothing_is_done_and_one_sentence_says_so(
    run, elsewhere, capsys, tmp_path
):
    for command in (
        ["evaluate", run],
        ["export", run, "--out", tmp_path / "mine.onnx"],
        ["train", "four-block-cnn", "--data", DATA, "--out", run, "--resume"],
    ):
        status, err = run_mien(capsys, *command)
        assert (status, len(err.splitlines())) == (2, 1), err
        assert "--import my_network.py" in err


def test_with_the_file_it_is_scored(run, elsewhere, file, capsys):
    status, err = run_mien(
        capsys, "evaluate", run, "--import", file, "--tta", "none", "--device", "cpu"
    )
    assert status == 0, err
    assert (run / "evaluation-validation.json").is_file()
    status, err = run_mien(
        capsys, "train", "four-block-cnn", "--data", DATA, "--out", run, "--device", "cpu", "--resume",
        "--import", file, "--set", f"model.name={NAME}", "--epochs", "1",
    )  # fmt: skip
    assert status == 0, err


def test_another_file_is_refused_before_it_is_run(run, elsewhere, capsys, tmp_path):
    other = tmp_path / "my_network.py"
    ran = tmp_path / "ran"
    other.write_text(SOURCE.format(name=NAME) + f"\nopen({str(ran)!r}, 'w').close()\n")
    for command in (
        ["evaluate", run],
        ["export", run, "--out", tmp_path / "mine.onnx"],
        ["train", "four-block-cnn", "--data", DATA, "--out", run, "--resume"],
    ):
        status, err = run_mien(capsys, *command, "--import", other)
        assert (status, "not the file that" in err) == (2, True), err
    assert not ran.exists()


def test_code_planted_in_a_run_folder_stays_asleep(
    run, elsewhere, file, capsys, tmp_path, monkeypatch
):
    """Whoever hands on a run can put anything into it, and make its record fit."""
    ran = tmp_path / "ran"
    planted = f"open({str(ran)!r}, 'w').close()\n" + SOURCE.format(name=NAME)
    for name in (
        "imported.py.txt",
        "my_network.py",
        "__init__.py",
        "sitecustomize.py",
        "conftest.py",
    ):
        (run / name).write_text(planted)
    for name in ("best", "last"):
        (run / name / "my_network.py").write_text(planted)
    told = json.loads((run / "environment.json").read_text())
    told["imported"]["sha256"] = sha256(planted.encode()).hexdigest()
    (run / "environment.json").write_text(json.dumps(told))
    monkeypatch.chdir(run)
    for command in (
        ["evaluate", run],
        ["export", run, "--out", tmp_path / "mine.onnx"],
        ["train", "four-block-cnn", "--data", DATA, "--out", run, "--resume"],
        ["card", run],
        ["predict", "none.jpg", "--model", run],
    ):
        run_mien(capsys, *command)
        run_mien(capsys, *command, "--import", file)
        for inside in ("my_network.py", "imported.py.txt"):
            status, err = run_mien(capsys, *command, "--import", run / inside)
            assert status == 2, err
    with pytest.raises(InputError, match="lies in a run folder"):
        mien.evaluate(run, imported="my_network.py")
    assert not ran.exists()


def test_a_file_that_cannot_be_imported_is_one_sentence(capsys, tmp_path):
    bad = tmp_path / "bad.py"
    for text in ("import nothing_of_this_name", "def (", SOURCE.format(name="basic-cnn")):
        bad.write_text(text)
        status, err = run_mien(capsys, "train", "basic-cnn", "--data", DATA, "--import", bad)
        assert (status, len(err.splitlines())) == (2, 1), err
        assert "cannot be imported" in err
    status, err = run_mien(capsys, "train", "basic-cnn", "--import", tmp_path / "none.py")
    assert (status, "no such file" in err) == (2, True)


def test_a_run_without_a_file_and_a_model_file_take_none(
    trained, elsewhere, file, tmp_path, capsys
):
    plain = shutil.copytree(trained, tmp_path / "plain")
    told = json.loads((plain / "environment.json").read_text())
    del told["imported"]
    (plain / "environment.json").write_text(json.dumps(told))
    for subject in (plain, "mien-people"):
        status, err = run_mien(capsys, "evaluate", subject, "--import", file, "--data", DATA)
        assert (status, "leave it out" in err) == (2, True), err
