"""Trainings that start from earlier weights, freeze them, or move them more slowly."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

import mien
from mien import cli, models
from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.models.weights import head_names
from mien.training import Augment, ModelSpec, Optimizer, Schedule, StoppedError, train

from .test_loop import StopAt, identical, look_at_every_step, weights  # noqa: F401 (a fixture)

SMALL = InputSpec(height=16, width=16)


@pytest.fixture
def recipe(recipe):
    return replace(recipe, model=ModelSpec("four-block-cnn"), input=SMALL)


@pytest.fixture
def trained(recipe, splits, tmp_path):
    """A finished run of an epoch, with another seed."""
    earlier = replace(recipe, epochs=1, seed=7)
    return train(earlier, splits.train, splits.validation, tmp_path / "earlier", device="cpu")


def starting_from(run, recipe, **changes):
    return replace(recipe, init=str(run.path), **changes)


@pytest.mark.parametrize("by_file", [True, False])
def test_a_training_starts_from_the_best_weights_of_a_run(
    by_file, trained, recipe, splits, tmp_path
):
    still = starting_from(trained, recipe, epochs=1, optimizer=Optimizer(lr=1e-30))
    if by_file:
        still = replace(still, init=str(trained.best_weights))
    run = train(still, splits.train, splits.validation, tmp_path / "run", device="cpu")
    before, after = weights(trained), weights(run, "last")
    for name, tensor in before.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], tensor)
    noted = run.environment()["init"]
    assert (noted["source"], noted["new_head"]) == (still.init, False)


def test_a_head_that_is_new_depends_on_the_seed_alone(trained, recipe, splits, tmp_path):
    tensors = weights(trained)
    head = head_names(models.create("four-block-cnn", SMALL, 7))
    bare = tmp_path / "bare.safetensors"
    safetensors.torch.save_file({n: t for n, t in tensors.items() if n not in head}, bare)
    still = replace(recipe, epochs=1, optimizer=Optimizer(lr=1e-30))
    runs = [
        train(one, splits.train, splits.validation, tmp_path / str(number), device="cpu")
        for number, one in enumerate((still, replace(still, init=str(bare))))
    ]
    random, started = (weights(run, "last") for run in runs)
    assert runs[1].environment()["init"]["new_head"] is True
    for name in tensors:
        if "running" not in name and "num_batches" not in name:
            expected = random if name in head else tensors
            torch.testing.assert_close(started[name], expected[name])


def test_what_is_frozen_does_not_move_until_its_epochs_are_over(trained, recipe, splits, tmp_path):
    head = head_names(models.create("four-block-cnn", SMALL, 7))
    before = weights(trained)
    moved = {}
    for epochs in (1, 2):
        run = train(
            starting_from(trained, recipe, epochs=epochs, freeze_epochs=1),
            splits.train,
            splits.validation,
            tmp_path / str(epochs),
            device="cpu",
        )
        after = weights(run, "last")
        moved[epochs] = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved[1] == head
    assert moved[2] == before.keys()


@pytest.mark.usefixtures("look_at_every_step")
@pytest.mark.parametrize("step", [3, 7, 9])
def test_a_stopped_fine_tuning_goes_on_exactly_where_it_was(
    step, trained, recipe, splits, tmp_path
):
    recipe = starting_from(
        trained,
        recipe,
        freeze_epochs=1,
        augment=Augment(flip=0.5),
        optimizer=Optimizer(name="adamw", weight_decay=0.01, backbone_lr=0.1),
        schedule=Schedule(name="one-cycle"),
        ema=0.9,
        clip_norm=1.0,
    )
    faces = (splits.train, splits.validation)
    whole = train(recipe, *faces, tmp_path / "whole", device="cpu")
    out = tmp_path / "stopped"
    with pytest.raises(StoppedError):
        train(recipe, *faces, out, device="cpu", watchers=[StopAt(step)])
    trained.best_weights.unlink()  # the state has all that is needed
    resumed = train(recipe, *faces, out, device="cpu", resume=True)
    assert identical(weights(whole, "last"), weights(resumed, "last"))
    assert identical(weights(whole), weights(resumed))


def test_a_run_that_never_saved_starts_again_only_from_the_same_weights(
    trained, recipe, splits, tmp_path
):
    recipe, faces = starting_from(trained, recipe, epochs=1), (splits.train, splits.validation)
    whole = train(recipe, *faces, tmp_path / "run", device="cpu")
    expected = weights(whole)
    whole.state_path.unlink()
    again = train(recipe, *faces, tmp_path / "run", device="cpu", resume=True)
    assert identical(weights(again), expected)
    whole.state_path.unlink()
    changed = {name: tensor + 1 for name, tensor in weights(trained).items()}
    safetensors.torch.save_file(changed, trained.best_weights)
    with pytest.raises(InputError, match="has changed since"):
        train(recipe, *faces, tmp_path / "run", device="cpu", resume=True)


def test_a_backbone_of_timm_is_trained_recorded_and_rebuilt(recipe, splits, tmp_path):
    run = train(
        replace(
            recipe,
            epochs=1,
            model=ModelSpec("timm", {"backbone": "test_efficientnet"}),
            input=InputSpec(channels=3, height=32, width=32),
        ),
        splits.train,
        splits.validation,
        tmp_path / "run",
        device="cpu",
    )
    assert run.recipe().model.options == {"backbone": "test_efficientnet", "dropout": 0.2}
    answers = models.load_classifier(run, "cpu")(splits.validation.pixels())
    accuracy = (answers.argmax(1) == splits.validation.labels).mean()
    assert accuracy == run.history()[0]["validation_accuracy"]


def said(capsys, *arguments):
    """(exit status, the one line on standard error) of `mien train`."""
    status = cli.run(["train", *map(str, arguments)])
    lines = capsys.readouterr().err.strip().splitlines()
    return status, lines[-1] if status else lines


FAST = ["--data", "synthetic:60", "--device", "cpu", "--set", "epochs=1"]
TINY = [*FAST, "--set", "input.height=16", "--set", "input.width=16"]


def test_the_command_line_starts_from_a_run_wherever_it_is_called(
    trained, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(trained.path.parent)
    status, _ = said(capsys, "four-block-cnn", *TINY, "--init", trained.path.name, "--out", "new")
    assert status == 0
    recipe = json.loads((tmp_path / "new" / "recipe.json").read_text())
    assert recipe["init"] == str(trained.path)
    monkeypatch.chdir("/")
    again = mien.train(
        "four-block-cnn",
        "synthetic:60",
        overrides=["input.height=16", "input.width=16", "epochs=1"],
        init=trained.path,
        out=tmp_path / "new",
        resume=True,
        device="cpu",
        watchers=[],
    )
    assert len(again.history()) == 1


def test_every_seed_starts_from_the_same_weights(trained, tmp_path):
    runs = mien.train_seeds(
        [0, 1],
        "four-block-cnn",
        "synthetic:60",
        tmp_path / "seeds",
        init=trained.path,
        overrides=["input.height=16", "input.width=16", "epochs=1"],
        device="cpu",
        watchers=[],
    )
    noted = [run.environment()["init"] for run in runs]
    assert noted[0] == noted[1]
    assert noted[0]["source"] == str(trained.path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["basic-cnn", "--init", "{run}"], "its weights do not fit the network in"),
        (["four-block-cnn", "--init", "nowhere.pt"], "nowhere.pt: no such weights file"),
        (["four-block-cnn", "--init", "hub"], "only the model timm has such weights"),
        (["four-block-cnn", "--set", "freeze_epochs=1"], "would freeze random weights"),
        (["efficientnet-lite0", "--set", "model.backbone=resnet"], "did you mean"),
        (["four-block-cnn", "--init", "nowhere.pt", "--seeds", "0-1"], "no such weights file"),
    ],
)
def test_mistakes_are_one_sentence_before_any_face_is_read(
    arguments, words, trained, capsys, tmp_path
):
    arguments = [part.format(run=trained.path) for part in arguments]
    # Were the data read first, their mistake would be the one that is told.
    status, line = said(capsys, *arguments, "--data", "/no/faces", "--out", tmp_path / "new")
    assert status == 2
    assert words in line
    assert not (tmp_path / "new").exists()


def test_without_a_network_the_recipe_of_system_e_says_what_to_do(capsys, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    status, line = said(capsys, "efficientnet-b0", *FAST, "--out", tmp_path / "new")
    assert status == 2
    assert "efficientnet_b0 could not be fetched" in line
    assert "--init FILE" in line
    assert "--init none" in line
    assert not (tmp_path / "new").exists()
    tiny = ["--set", "input.height=32", "--set", "input.width=32"]
    status, _ = said(
        capsys, "efficientnet-b0", *FAST, *tiny, "--init", "none", "--out", tmp_path / "new"
    )
    assert status == 0
    assert json.loads((tmp_path / "new" / "environment.json").read_text())["init"] is None
