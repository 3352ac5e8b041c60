"""What is told before a training begins, and the dry run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import mien
from mien import cli, recipes
from mien.errors import InputError
from mien.runs import RunFolder
from mien.training import TerminalWatcher, to_dict
from mien.training.watch import Moment


def a_table(root: Path, usages: list[tuple[int, str]], copies: bool = False) -> Path:
    """fer2013.csv of faces of 8 x 8, one for each (label, Usage)."""
    generator = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for label, usage in usages:
        pixels = [7] * 64 if copies else generator.integers(0, 256, 64)
        lines.append(f"{label},{' '.join(map(str, pixels))},{usage}")
    path = root / "fer2013.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


USAGES = [(n % 6, u) for u, k in (("Training", 60), ("PublicTest", 12)) for n in range(k)]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))


def test_a_plan_counts_faces_steps_and_parameters(tmp_path):
    data = a_table(tmp_path, [*USAGES, (6, "PrivateTest"), (6, "PrivateTest")])

    plan = mien.plan("basic-cnn", data, overrides=["epochs=3", "batch_size=25"], device="cpu")

    assert {split: sum(by.values()) for split, by in plan.counts.items()} == {
        "train": 48,  # the recipe holds a fifth out
        "validation": 12,
        "test": 2,
    }
    assert "20% of Training, held out" in plan.validation
    assert "12 are not used" in plan.validation
    assert plan.steps == 3 * 2
    assert plan.parameters > 100_000
    assert (plan.device, plan.layout) == ("cpu", "fer2013.csv")
    assert "neutral: no face to train with, 2 in test; it is not learnt" in plan.notes


def test_copies_across_splits_are_counted(tmp_path):
    plan = mien.plan("basic-cnn", a_table(tmp_path, USAGES, copies=True), device="cpu")

    assert plan.copies == {"validation": 12, "test": 0}
    assert any("exact copies of others" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("usages", "told"), [(USAGES, "the source's own"), (USAGES[:60], "10% of Training, carved out")]
)
def test_the_origin_of_validation_is_told(tmp_path, usages, told):
    data = a_table(tmp_path, usages)
    plan = mien.plan("basic-cnn", data, overrides=["split.holdout=none"], device="cpu")

    assert plan.validation.startswith(told)


def test_a_dry_run_shows_the_plan_and_writes_no_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = a_table(tmp_path, USAGES)

    assert cli.run(["train", "basic-cnn", "--data", str(data), "--dry-run", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["counts"]["train"]["angry"] == 8
    assert not (tmp_path / "runs").exists()


def test_the_time_to_go_is_told_once_after_some_steps(tmp_path):
    shown = io.StringIO()
    watcher = TerminalWatcher(Console(file=shown, width=100))
    watcher.started(RunFolder(tmp_path), recipes.find("basic-cnn"), 100, 0)
    for step in (10, 25, 50):
        watcher.stepped(Moment(1, step, 1.0, 0.5, 10.0))

    assert shown.getvalue().count("to go") == 1


def test_a_setting_that_is_given_twice_is_refused(tmp_path, capsys):
    short = ["--epochs", "30", "--set", "epochs=31"]
    data = ["--data", str(a_table(tmp_path, USAGES)), "--device", "cpu", "--dry-run"]
    assert cli.run(["train", "basic-cnn", *data, *short]) == 2
    assert "epochs is given twice, as 31 and as 30" in capsys.readouterr().err
    assert cli.run(["train", "basic-cnn", *data, "--epochs", "1", "--set", "epochs=1"]) == 0


def test_a_seed_beside_seeds_is_refused(tmp_path):
    """It had no effect: each run has its own seed."""
    data = a_table(tmp_path, USAGES)
    with pytest.raises(InputError, match="--set seed=3: here the seeds are given by --seeds"):
        mien.train_seeds([0, 1], "basic-cnn", data, tmp_path / "runs", overrides=["seed=3"])
    assert not (tmp_path / "runs").exists()


def test_texts_that_stand_alone_are_not_taken_by_their_letters(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(to_dict(recipes.find("basic-cnn"))))
    plan = mien.plan(path, a_table(tmp_path, USAGES), overrides="epochs=7", device="cpu")
    assert plan.epochs == 7
    with pytest.raises(InputError, match=r"--seeds 0-b: write it as 0-4"):
        mien.train_seeds("0-b", "basic-cnn", tmp_path / "no data")
    with pytest.raises(InputError, match=r"no tracker 'tensorbord' \(did you mean tensorboard"):
        mien.train("basic-cnn", tmp_path / "no data", track="tensorbord")
