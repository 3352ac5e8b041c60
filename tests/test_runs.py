"""The run folder: what a training leaves behind, read by whoever comes later."""

import hashlib
import json
from dataclasses import replace

import pytest

from mien.errors import InputError
from mien.files import write_json
from mien.recipe import ModelSpec, Recipe, to_dict
from mien.runs import HISTORY_COLUMNS, RunFolder

RECIPE = Recipe("made-up", ModelSpec("basic-cnn"))


def write_history(run, head, *rows):
    """What training would write, with 1 in the columns that are not in `head`."""
    others = [name for name in HISTORY_COLUMNS if name not in head.split(",")]
    lines = [",".join([head, *others]), *(",".join([row, *"1" * len(others)]) for row in rows)]
    run.history_path.write_text("\n".join(lines) + "\n")


def test_seeds_expand_in_numeric_order(tmp_path):
    for seed in (10, 2, 1):
        (tmp_path / f"seed-{seed}").mkdir()
        write_json(tmp_path / f"seed-{seed}" / "recipe.json", to_dict(RECIPE))
    names = [run.path.name for run in RunFolder.expand(tmp_path)]
    assert names == ["seed-1", "seed-2", "seed-10"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"name": ', "not readable as JSON"),
        ("[1]", "not a JSON object"),
        ('{"name": "cake", "model": {"name": "oven"}}', "it lacks input, expressions, split"),
        (json.dumps(to_dict(RECIPE) | {"split": {}}), "it lacks split"),
        (json.dumps(to_dict(RECIPE) | {"epochs": 0}), "epochs=0 is not allowed"),
        (json.dumps(to_dict(RECIPE) | {"colour": 3}), "no field 'colour'"),
        (json.dumps(to_dict(RECIPE) | {"model": "basic-cnn"}), "model='basic-cnn' is not allowed"),
    ],
)
def test_a_damaged_or_foreign_recipe_is_refused_by_its_file(tmp_path, content, words):
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(InputError) as caught:
        RunFolder.open(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.json'}: ")
    assert words in str(caught.value)


def test_a_recipe_of_an_earlier_version_has_the_defaults_of_later_ones(tmp_path):
    written = to_dict(replace(RECIPE, epochs=7))
    for later in ("precise_norm", "init_share", "mixing"):
        del written[later]
    del written["objective"]["logit_adjustment"]
    write_json(tmp_path / "recipe.json", written)
    assert RunFolder.open(tmp_path).recipe() == replace(RECIPE, epochs=7)


def test_the_kept_epoch_is_the_one_that_the_recipe_selects(tmp_path):
    run = RunFolder(tmp_path)
    write_json(run.environment_path, {"seconds": None})
    write_json(run.recipe_path, to_dict(RECIPE))
    assert not run.is_finished()
    with pytest.raises(InputError, match="no epoch was validated yet"):
        run.kept_epoch()
    head = "epoch,validation_loss,validation_accuracy"
    write_history(run, head, "1,0.9,0.5", "2,1.1,0.6", "3,1.2,0.6")
    assert run.kept_epoch()["epoch"] == 2  # of equals the first, as training keeps it
    write_json(run.recipe_path, to_dict(replace(RECIPE, select="loss")))
    assert run.kept_epoch()["epoch"] == 1
    write_json(run.recipe_path, to_dict(replace(RECIPE, select="last")))
    assert run.kept_epoch()["epoch"] == 3
    write_json(run.environment_path, {"seconds": 12.5})
    assert run.is_finished()


@pytest.mark.parametrize(
    ("select", "epoch"), [("accuracy", 2), ("loss", 1), ("last", 5), ("people", 5)]
)
def test_a_run_without_the_kept_epoch_written_down_answers_as_training_would(
    tmp_path, select, epoch
):
    """As those of earlier versions are, and those that may still go on."""
    run = RunFolder(tmp_path)
    write_json(run.recipe_path, to_dict(replace(RECIPE, select=select, epochs=5)))
    head = "epoch,validation_loss,validation_accuracy,validation_people"
    rows = ["1,0.9,0.5,0.9", "2,1.1,0.6,0.8", "3,1.2,0.6,0.7", "5,1.3,0.4,0.1"]
    write_history(run, head, *rows)
    assert run.kept_epoch()["epoch"] == epoch


def test_the_kept_epoch_is_the_one_that_is_written_down(tmp_path):
    run = RunFolder(tmp_path)
    write_json(run.recipe_path, to_dict(RECIPE))
    write_history(run, "epoch,validation_loss,validation_accuracy", "1,1,0.6", "2,1,0.5")
    write_json(run.environment_path, {"kept_epoch": 2})
    assert run.kept_epoch()["epoch"] == 2
    write_json(run.environment_path, {"kept_epoch": 3})
    with pytest.raises(InputError, match=r"history\.csv: lacks epoch 3"):
        run.kept_epoch()


def test_a_file_that_changed_is_read_again(tmp_path):
    run = RunFolder(tmp_path)
    assert run.weights_digest() is None
    run.best_weights.parent.mkdir()
    for epochs in (10, 12):
        write_json(run.recipe_path, to_dict(replace(RECIPE, epochs=epochs)))
        write_json(run.environment_path, {"device": "d" * epochs})
        write_history(run, "epoch", *["1"] * epochs)
        run.best_weights.write_bytes(b"w" * epochs)
        assert (
            run.recipe().epochs == len(run.environment()["device"]) == len(run.history()) == epochs
        )
        assert run.weights_digest() == hashlib.sha256(b"w" * epochs).hexdigest()
    run.environment()["device"] = "changed by whoever read it"
    assert run.environment() == {"device": "d" * 12}
    run.best_weights.unlink()
    assert run.weights_digest() is None
