"""The loop: it learns, repeats itself bit for bit, stops cleanly, and never sees a test face."""

import csv
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.metrics import balanced_accuracy_score

from mien.data.splits import split
from mien.errors import InputError, MienError
from mien.expressions import SEVEN
from mien.models import load_classifier
from mien.recipe import SplitRule, to_dict
from mien.training import (
    Augment,
    ModelSpec,
    Optimizer,
    Schedule,
    StoppedError,
    Targets,
    Watcher,
    override,
    train,
)
from mien.training.augment import augmented
from mien.training.checkpoint import save_state
from mien.training.feed import FaceFeed
from mien.training.seeds import Stream, stream_seed

from .conftest import store_of


def weights(run, which="best"):
    path = run.best_weights if which == "best" else run.last_weights
    return safetensors.torch.load_file(path)


def identical(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(tensor, second[name]) for name, tensor in first.items()
    )


class StopAt(Watcher):
    """Sends this process a signal once a step is reached, as Ctrl-C or a scheduler would."""

    def __init__(self, step, number=signal.SIGINT):
        self.step, self.number = step, number

    def stepped(self, moment):
        if moment.step == self.step:
            self.step = None
            signal.raise_signal(self.number)


@pytest.fixture
def look_at_every_step(monkeypatch):
    monkeypatch.setattr("mien.training.loop._LOOK_EVERY", 0.0)


def test_it_learns_and_writes_a_whole_run(recipe, splits, tmp_path):
    recipe = replace(recipe, model=ModelSpec("four-block-cnn"), epochs=6)
    run = train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    history = run.history()
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["step"] == 6 * 7
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    assert all(
        row["gap"] == pytest.approx(row["train_accuracy"] - row["validation_accuracy"])
        for row in history
    )
    assert run.recipe().name == "tiny"
    environment = run.environment()
    assert environment["data"]["fingerprint"] == splits.train.store.fingerprint
    assert environment["data"]["counts"] == {"train": 200, "validation": 40}
    assert environment["precision"] == "float32"
    assert environment["seconds"] > 0
    assert not list(run.path.rglob("*.part"))


def test_the_kept_weights_are_those_of_the_best_epoch(recipe, splits, tmp_path):
    run = train(
        replace(recipe, epochs=4), splits.train, splits.validation, tmp_path / "run", device="cpu"
    )
    probabilities = load_classifier(run, "cpu")(splits.validation.pixels())
    accuracy = (probabilities.argmax(1) == splits.validation.labels).mean()
    assert accuracy == max(row["validation_accuracy"] for row in run.history())


def test_selection_by_loss_keeps_the_epoch_of_the_lowest_loss(recipe, splits, tmp_path):
    run = train(
        replace(recipe, epochs=4, select="loss", optimizer=Optimizer(lr=5e-3)),
        splits.train,
        splits.validation,
        tmp_path / "run",
        device="cpu",
    )
    probabilities = load_classifier(run, "cpu")(splits.validation.pixels())
    own = probabilities[np.arange(len(splits.validation)), splits.validation.labels]
    lowest = min(row["validation_loss"] for row in run.history())
    assert -np.log(own).mean() == pytest.approx(lowest, rel=1e-5)


def test_the_last_epoch_is_kept_where_the_recipe_says_so(recipe, splits, tmp_path):
    run = train(
        replace(recipe, epochs=3, select="last", optimizer=Optimizer(lr=5e-3)),
        splits.train,
        splits.validation,
        tmp_path / "run",
        device="cpu",
    )
    assert identical(weights(run), weights(run, "last"))
    with pytest.raises(InputError, match="early_stopping needs a best epoch"):
        override(recipe, ["select=last", "early_stopping=2"])


def write_votes(path, labels_by_row):
    """FER+'s file, nine of ten annotators naming the label of each row that is given."""
    columns = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
    ours = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear"]
    usages = np.repeat(["Training", "PublicTest", "PrivateTest"], [28709, 3589, 3589])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Usage", "Image name", *columns, "contempt", "unknown", "NF"])
        for row, usage in enumerate(usages):
            counts = [0] * 10
            if row in labels_by_row:
                counts[ours.index(SEVEN[labels_by_row[row]])] = 9
            counts[8] = 10 - sum(counts)
            writer.writerow([usage, f"fer{row:07d}.png", *counts])
    return path


@pytest.fixture
def voted(store, tmp_path):
    """(splits, votes): the drawn faces under the challenge's row numbers, and annotators who agree with them."""
    starts = np.array([0, 28709, 28709 + 3589])[store.splits]
    firsts = np.searchsorted(store.splits, store.splits)
    rows = starts + np.arange(len(store)) - firsts
    labels = dict(zip(rows.tolist(), store.labels.tolist(), strict=True))
    numbered = replace(store, rows=rows.astype(str))
    return split(numbered, SplitRule()), write_votes(tmp_path / "votes.csv", labels)


def test_people_s_majorities_select_among_the_last_fifth(recipe, voted, tmp_path):
    splits, votes = voted
    judged = replace(
        recipe,
        epochs=10,
        select="people",
        targets=Targets(votes=str(votes)),
        optimizer=Optimizer(lr=5e-3),
    )
    run = train(judged, splits.train, splits.validation, tmp_path / "run", device="cpu")
    history = run.history()
    late = {row["epoch"]: row["validation_people"] for row in history if row["epoch"] > 8}
    assert sorted(late) == [9, 10]
    assert run.kept_epoch()["validation_people"] == max(late.values())
    answers = load_classifier(run, "cpu")(splits.validation.pixels()).argmax(1)
    balanced = balanced_accuracy_score(splits.validation.labels, answers)
    accuracy = (answers == splits.validation.labels).mean()
    assert (accuracy + balanced) / 2 == pytest.approx(run.kept_epoch()["validation_people"])


def test_a_judge_without_votes_is_refused(recipe, voted, tmp_path):
    splits, _ = voted
    with pytest.raises(InputError, match=r"select=people.*targets.votes=fer2013new.csv"):
        train(
            replace(recipe, select="people"),
            splits.train,
            splits.validation,
            tmp_path / "run",
            device="cpu",
        )
    silent = write_votes(tmp_path / "silent.csv", {})
    judged = replace(recipe, select="people", targets=Targets(votes=str(silent)))
    with pytest.raises(InputError, match="no majority on any validation face"):
        train(judged, splits.train, splits.validation, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rule", [SplitRule(), SplitRule(holdout=0.2)])
def test_with_and_without_test_rows_the_weights_are_the_same_bit_for_bit(
    rule, recipe, store, tmp_path
):
    kept = store.splits != 2
    without = store_of(store.pixels[kept], store.labels[kept], store.splits[kept])
    # And a test split of nonsense: if anything looked at it, something would change.
    nonsense = store_of(
        np.where(kept[:, None, None, None], store.pixels, 255 - store.pixels),
        np.where(kept, store.labels, 0),
        store.splits,
    )
    recipe = replace(
        recipe, split=rule, augment=Augment(flip=0.5, rotation=10, erase=0.2), precision="auto"
    )
    runs = []
    for number, data in enumerate((store, without, nonsense)):
        parts = split(data, rule)
        runs.append(
            train(recipe, parts.train, parts.validation, tmp_path / str(number), device="cpu")
        )
    for which in ("best", "last"):
        assert identical(weights(runs[0], which), weights(runs[1], which))
        assert identical(weights(runs[0], which), weights(runs[2], which))


def test_another_seed_gives_another_network(recipe, splits, tmp_path):
    recipe = replace(recipe, epochs=1)
    runs = [
        train(
            replace(recipe, seed=seed),
            splits.train,
            splits.validation,
            tmp_path / str(seed),
            device="cpu",
        )
        for seed in (0, 1)
    ]
    assert not identical(weights(runs[0]), weights(runs[1]))


def test_streams_of_seeds_do_not_meet():
    seeds = [stream_seed(seed, kind, n) for seed in range(3) for kind in Stream for n in range(99)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.usefixtures("look_at_every_step")
@pytest.mark.parametrize("step", [1, 5, 7, 8, 13])
def test_a_stopped_training_goes_on_exactly_where_it_was(step, recipe, splits, tmp_path):
    recipe = replace(
        recipe,
        model=ModelSpec("four-block-cnn"),
        augment=Augment(flip=0.5, rotation=10),
        schedule=Schedule(name="one-cycle"),
        ema=0.9,
        clip_norm=1.0,
        precision="auto",
    )
    whole = train(recipe, splits.train, splits.validation, tmp_path / "whole", device="cpu")
    out = tmp_path / "stopped"
    with pytest.raises(StoppedError, match="--resume") as stop:
        train(recipe, splits.train, splits.validation, out, device="cpu", watchers=[StopAt(step)])
    assert stop.value.exit_code == 130
    assert (out / "best" / "weights.safetensors").exists()
    resumed = train(recipe, splits.train, splits.validation, out, device="cpu", resume=True)
    assert identical(weights(whole, "last"), weights(resumed, "last"))
    assert identical(weights(whole), weights(resumed))
    timeless = [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for run in (whole, resumed)
        for row in run.history()
    ]
    assert timeless[:2] == timeless[2:]


@pytest.mark.usefixtures("look_at_every_step")
def test_a_terminated_training_says_so_in_its_exit_status(recipe, splits, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError) as stop:
        train(
            recipe,
            splits.train,
            splits.validation,
            tmp_path / "run",
            device="cpu",
            watchers=[StopAt(2, signal.SIGTERM)],
        )
    assert stop.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_resuming_a_finished_run_changes_nothing(recipe, splits, tmp_path):
    run = train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    before = {path: path.read_bytes() for path in run.path.rglob("*.safetensors")}
    train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu", resume=True)
    assert before == {path: path.read_bytes() for path in run.path.rglob("*.safetensors")}


def test_resuming_with_another_recipe_or_other_data_is_refused(recipe, store, splits, tmp_path):
    out = tmp_path / "run"
    train(replace(recipe, epochs=1), splits.train, splits.validation, out, device="cpu")
    with pytest.raises(InputError, match=r"another recipe \(it differs in epochs\)"):
        train(recipe, splits.train, splits.validation, out, device="cpu", resume=True)
    other = split(
        store_of(store.pixels[::-1].copy(), store.labels[::-1], store.splits), recipe.split
    )
    with pytest.raises(InputError, match="other data"):
        train(
            replace(recipe, epochs=1), other.train, other.validation, out, device="cpu", resume=True
        )


def test_a_folder_that_holds_a_run_is_not_overwritten(recipe, splits, tmp_path):
    recipe = replace(recipe, epochs=1)
    run = train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    before = run.best_weights.read_bytes()
    with pytest.raises(InputError, match=r"holds a run already.*--resume"):
        train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    assert run.best_weights.read_bytes() == before


def test_early_stopping_ends_after_its_patience(recipe, splits, tmp_path):
    run = train(
        replace(recipe, epochs=30, early_stopping=2, optimizer=Optimizer(name="sgd", lr=1e-12)),
        splits.train,
        splits.validation,
        tmp_path / "run",
        device="cpu",
    )
    assert len(run.history()) == 3


def test_a_diverging_training_stops_and_keeps_what_was_good(recipe, splits, tmp_path, monkeypatch):
    steps = []

    def poisoned(*seen):
        steps.append(1)
        return augmented(*seen) * (float("nan") if len(steps) > 7 else 1)

    monkeypatch.setattr("mien.training.loop.augmented", poisoned)
    out = tmp_path / "run"
    with pytest.raises(MienError, match=r"diverged in epoch 2 .*weights of epoch 1 are kept"):
        train(recipe, splits.train, splits.validation, out, device="cpu")
    kept = safetensors.torch.load_file(out / "best" / "weights.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.values())


@pytest.mark.usefixtures("look_at_every_step")
def test_the_moving_average_is_what_is_kept(recipe, splits, tmp_path):
    """Against the same steps taken one run at a time, averaged by hand."""
    recipe = replace(recipe, epochs=1, batch_size=100, optimizer=Optimizer(name="sgd", lr=0.1))
    averaged = train(
        replace(recipe, ema=0.75), splits.train, splits.validation, tmp_path / "a", device="cpu"
    )
    last = weights(averaged, "last")
    half = tmp_path / "half"
    with pytest.raises(StoppedError):
        train(recipe, splits.train, splits.validation, half, device="cpu", watchers=[StopAt(1)])
    first = safetensors.torch.load_file(half / "last" / "weights.safetensors")
    for name, kept in weights(averaged).items():
        torch.testing.assert_close(kept, 0.75 * first[name] + 0.25 * last[name])


def test_a_state_that_was_not_saved_whole_is_not_mixed_with_another(
    recipe, splits, tmp_path, monkeypatch
):
    """The disk is full between the weights and the state of the second epoch."""
    whole = train(recipe, splits.train, splits.validation, tmp_path / "whole", device="cpu")
    out = tmp_path / "broken"
    saved = []

    def fails_at_the_second(run, state):
        saved.append(state)
        if len(saved) == 2:
            raise MienError("the disk is full")
        save_state(run, state)

    monkeypatch.setattr("mien.training.checkpoint.save_state", fails_at_the_second)
    with pytest.raises(MienError, match="the disk is full"):
        train(recipe, splits.train, splits.validation, out, device="cpu")
    monkeypatch.undo()
    resumed = train(recipe, splits.train, splits.validation, out, device="cpu", resume=True)
    assert identical(weights(whole), weights(resumed))
    assert identical(weights(whole, "last"), weights(resumed, "last"))


def test_a_run_that_ended_before_its_first_save_begins_anew(recipe, splits, tmp_path):
    whole = train(recipe, splits.train, splits.validation, tmp_path / "whole", device="cpu")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("recipe.json", "environment.json"):
        (bare / name).write_bytes((whole.path / name).read_bytes())
    resumed = train(recipe, splits.train, splits.validation, bare, device="cpu", resume=True)
    assert identical(weights(whole), weights(resumed))


def test_a_gpu_whose_memory_is_full_is_one_sentence(recipe, splits, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("mien.training.loop.augmented", full)
    with pytest.raises(MienError, match="smaller batch_size"):
        train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")


def test_weights_ruined_by_the_last_step_are_not_kept(recipe, splits, tmp_path):
    recipe = replace(recipe, epochs=1, batch_size=200, optimizer=Optimizer(name="sgd", lr=1e38))
    with pytest.raises(MienError, match=r"diverged in epoch 1 .*nothing was learnt"):
        train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "best").exists()


def test_the_network_s_defaults_are_written_down(recipe, splits, tmp_path):
    run = train(
        replace(recipe, epochs=1), splits.train, splits.validation, tmp_path / "run", device="cpu"
    )
    options = {"dropout": 0.5, "conv_dropout": 0.0, "width": 1.0}
    assert run.recipe().model == ModelSpec("basic-cnn", options)


def test_a_run_from_before_its_network_had_an_option_goes_on(recipe, splits, tmp_path):
    run = train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    written = to_dict(run.recipe())
    del written["model"]["options"]["width"]
    run.recipe_path.write_text(json.dumps(written))
    again = train(
        recipe, splits.train, splits.validation, tmp_path / "run", device="cpu", resume=True
    )
    assert len(again.history()) == recipe.epochs


@pytest.mark.usefixtures("look_at_every_step")
@pytest.mark.parametrize("step", [3, 14, 20])
def test_plateau_and_early_stopping_go_on_where_they_were(step, recipe, splits, tmp_path):
    recipe = replace(
        recipe,
        epochs=6,
        select="loss",
        early_stopping=2,
        schedule=Schedule(name="plateau", patience=0),
        optimizer=Optimizer(lr=3e-2),
    )
    whole = train(recipe, splits.train, splits.validation, tmp_path / "whole", device="cpu")
    out = tmp_path / "stopped"
    with pytest.raises(StoppedError):
        train(recipe, splits.train, splits.validation, out, device="cpu", watchers=[StopAt(step)])
    resumed = train(recipe, splits.train, splits.validation, out, device="cpu", resume=True)
    assert identical(weights(whole), weights(resumed))
    assert [r["learning_rate"] for r in whole.history()] == [
        r["learning_rate"] for r in resumed.history()
    ]


def test_streamed_faces_are_the_resident_ones(splits):
    cpu = torch.device("cpu")
    resident = FaceFeed(splits.train, cpu)
    streamed = FaceFeed(splits.train, cpu, budget=0)
    positions = torch.tensor([3, 199, 0, 3])
    assert (resident.resident, streamed.resident) == (True, False)
    for one, two in zip(resident.batch(positions), streamed.batch(positions), strict=True):
        assert torch.equal(one, two)


def test_data_with_another_label_set_is_refused(recipe, store, tmp_path):
    other = split(replace(store, expressions=tuple("abcdefg")), SplitRule())
    with pytest.raises(InputError, match="its expressions are a, b, c"):
        train(recipe, other.train, other.validation, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_model_option_of_the_wrong_type_leaves_no_folder(recipe, splits, tmp_path):
    recipe = replace(recipe, model=ModelSpec("basic-cnn", {"dropout": "much"}))
    with pytest.raises(InputError, match="dropout='much'"):
        train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_sentence_and_leaves_no_part_of_a_file(
    recipe, splits, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(MienError, match="the disk is full") as refusal:
        train(recipe, splits.train, splits.validation, tmp_path / "run", device="cpu")
    assert refusal.value.exit_code == 2
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_resuming_with_fewer_faces_of_the_same_data_is_refused(recipe, splits, tmp_path):
    few = splits.train.store.faces(splits.train.indices[:100])
    run = train(replace(recipe, epochs=1), few, splits.validation, tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="was trained on other data"):
        train(
            replace(recipe, epochs=1),
            splits.train,
            splits.validation,
            run.path,
            device="cpu",
            resume=True,
        )


def test_only_epochs_whose_turn_it_is_are_validated_and_the_last_one(recipe, splits, tmp_path):
    """The weights are those of a training that validates every epoch; one that was skipped is not kept."""
    told = []

    class Told(Watcher):
        def epoch_ended(self, row, confusion_KK, *, best):
            told.append((int(row["epoch"]), confusion_KK is not None))

    runs = [
        train(
            replace(recipe, epochs=3, validate_every=every),
            splits.train,
            splits.validation,
            tmp_path / str(every),
            device="cpu",
            watchers=[Told()] if every == 2 else [],
        )
        for every in (1, 2)
    ]
    assert told == [(1, False), (2, True), (3, True)]
    always, sometimes = (run.history() for run in runs)
    assert "validation_loss" not in sometimes[0]
    assert "gap" not in sometimes[0]
    assert [row["train_loss"] for row in always] == [row["train_loss"] for row in sometimes]
    assert [row["validation_loss"] for row in always[1:]] == [
        row["validation_loss"] for row in sometimes[1:]
    ]
    assert identical(*(weights(run, "last") for run in runs))
    assert runs[1].kept_epoch()["epoch"] > 1


def test_what_waits_for_every_epoch_refuses_to_skip_one(recipe):
    for patient in ("early_stopping=3", "schedule.name=plateau"):
        with pytest.raises(InputError, match="set validate_every=1"):
            override(recipe, ["validate_every=2", patient])


def test_epochs_that_end_at_once_are_written_down_together(recipe, splits, tmp_path, monkeypatch):
    """As on a GPU; what the run holds in the end is the same."""
    saved = []

    def counted(run, state):
        saved.append(state["progress"]["step"])
        save_state(run, state)

    monkeypatch.setattr("mien.training.checkpoint.save_state", counted)
    recipe = replace(recipe, epochs=3)
    slow = train(recipe, splits.train, splits.validation, tmp_path / "slow", device="cpu")
    assert saved == [7, 14, 21]
    monkeypatch.setattr("mien.training.loop._WRITE_EVERY", 1e9)
    quick = train(recipe, splits.train, splits.validation, tmp_path / "quick", device="cpu")
    assert saved[3:] == [21]
    assert identical(weights(slow), weights(quick))
    assert [row["epoch"] for row in quick.history()] == [1, 2, 3]
