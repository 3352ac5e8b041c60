"""Going on: from the middle of an epoch, more than once, after what was not a signal; and when not."""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mien.errors import InputError
from mien.evaluation.metrics import cross_entropy
from mien.files import atomic_file
from mien.models import load_classifier
from mien.runs import RunFolder
from mien.training import Augment, ModelSpec, Schedule, Watcher, train

from .conftest import reliability
from .test_loop import StopAt, identical, weights


class BreakAt(Watcher):
    """Ends a training as a bug or a power cut would: with nothing saved for it."""

    def __init__(self, step):
        self.step = step

    def stepped(self, moment):
        if moment.step == self.step:
            raise RuntimeError("broken")


class Notes(Watcher):
    def __init__(self):
        self.sentences = []
        self.first_step = None

    def started(self, run, recipe, steps, first_step):
        self.first_step = first_step

    def noted(self, sentence):
        self.sentences.append(sentence)


@pytest.fixture(autouse=True)
def look_at_every_step(monkeypatch):
    monkeypatch.setattr("mien.training.loop._LOOK_EVERY", 0.0)


@pytest.fixture
def small(recipe):
    """Two epochs of five steps of a network with BatchNorm and dropout, everything random on."""
    return replace(
        recipe,
        model=ModelSpec("four-block-cnn", {"width": 0.25}),
        augment=Augment(flip=0.5, rotation=10, erase=0.2),
        schedule=Schedule(name="one-cycle"),
        ema=0.9,
        precise_norm=60,
        batch_size=40,
    )


@pytest.fixture
def go(splits, tmp_path):
    def go(recipe, name, **options):
        return train(
            recipe, splits.train, splits.validation, tmp_path / name, device="cpu", **options
        )

    return go


def timeless(run):
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in run.history()
    ]


def assert_the_same(one, two):
    for which in ("best", "last"):
        assert identical(weights(one, which), weights(two, which))
    assert timeless(one) == timeless(two)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stopped_twice_within_an_epoch_it_ends_the_same(precision, small, go):
    small = replace(small, precision=precision)
    whole = go(small, "whole")
    for resume, step in ((False, 6), (True, 8)):
        with pytest.raises(Exception, match=f"after step {step} of 10"):
            go(small, "stopped", resume=resume, watchers=[StopAt(step)])
    assert_the_same(whole, go(small, "stopped", resume=True))


def test_what_ends_without_a_signal_loses_no_more_than_the_interval(small, go, tmp_path):
    whole = go(small, "whole")
    with pytest.raises(RuntimeError, match="broken"):
        go(small, "broken", checkpoint_every="3", watchers=[BreakAt(9)])
    (tmp_path / "broken" / "last" / ".state.pt.abcd.part").write_text("killed while it wrote")
    notes = Notes()
    resumed = go(small, "broken", resume=True, watchers=[notes])
    assert notes.first_step == 8  # of the epoch's end (5) and three more
    assert notes.sentences == []
    assert not list(resumed.path.rglob("*.part"))
    assert_the_same(whole, resumed)


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_a_run_that_is_being_trained_is_left_alone(small, go, tmp_path):
    """`--resume` of a living run swept the file that it was writing, and so ended it."""
    refused = []

    class Intruder(Watcher):
        def epoch_ended(self, *_, **__):
            part = tmp_path / "run" / "last" / ".state.pt.abcd.part"
            part.write_text("being written")
            with pytest.raises(InputError, match="another process is training here") as error:
                go(small, "run", resume=True)
            refused.append(error)
            assert part.exists()
            part.unlink()

    run = go(small, "run", watchers=[Intruder()])

    assert refused
    assert run.is_finished()
    go(small, "run", resume=True)  # free again


def test_a_damaged_state_costs_the_steps_since_the_one_before_it(small, go, tmp_path):
    whole = go(small, "whole")
    with pytest.raises(RuntimeError, match="broken"):
        go(small, "broken", checkpoint_every="2", watchers=[BreakAt(10)])
    state = tmp_path / "broken" / "last" / "state.pt"
    state.write_bytes(state.read_bytes()[:-1])
    notes = Notes()
    resumed = go(small, "broken", resume=True, watchers=[notes])
    assert notes.first_step == 7
    assert [sentence.partition(":")[0] for sentence in notes.sentences] == [str(state)]
    assert_the_same(whole, resumed)


@pytest.mark.parametrize("files", range(1, 8))
def test_after_a_kill_between_two_files_the_best_weights_are_those_of_the_history(
    files, small, go, splits, tmp_path, monkeypatch
):
    """Another number of threads rounds otherwise, so a resume may never come to the epoch that was best before."""
    written = []

    @contextmanager
    def killed_after(path, *options, **more):
        if len(written) == files:
            raise RuntimeError("killed")
        with atomic_file(path, *options, **more) as handle:
            yield handle
        written.append(path)

    monkeypatch.setattr("mien.training.checkpoint.atomic_file", killed_after)
    monkeypatch.setattr("mien.training.loop.worth", lambda row, recipe: row["epoch"])
    with pytest.raises(RuntimeError, match="killed"):
        go(small, "run")
    monkeypatch.setattr("mien.training.checkpoint.atomic_file", atomic_file)
    monkeypatch.setattr("mien.training.loop.worth", lambda row, recipe: -row["epoch"])

    class AtItsStart(Watcher):
        def started(self, run, recipe, steps, first_step):
            self.agreed = first_step == 0 or agree(run, splits.validation)

    watcher = AtItsStart()
    run = go(small, "run", resume=True, watchers=[watcher])

    assert watcher.agreed
    assert agree(run, splits.validation)
    assert [row["epoch"] for row in run.history()] == [1, 2]


def agree(run, validation):
    """Whether best/ scores as the history says of the kept epoch, or of the last one of an unfinished run."""
    row = run.kept_epoch() if run.is_finished() else run.history()[-1]
    answers_NK = load_classifier(run, "cpu")(validation.pixels())
    return cross_entropy(answers_NK, validation.labels) == pytest.approx(row["validation_loss"])


def test_a_resume_is_written_down_with_what_changed(small, go):
    with pytest.raises(Exception, match="after step 3 of 10"):
        go(small, "run", watchers=[StopAt(3)])
    run = go(small, "run", resume=True)
    (resume,) = run.environment()["resumed"]
    assert resume["step"] == 3
    assert resume.keys() == {"step", "started"}


def test_a_resume_by_another_torch_is_written_down(small, go, tmp_path):
    with pytest.raises(Exception, match="after step 3 of 10"):
        go(small, "run", watchers=[StopAt(3)])
    path = RunFolder(tmp_path / "run").environment_path
    path.write_text(json.dumps({**json.loads(path.read_text()), "torch": "1.0"}))
    (resume,) = go(small, "run", resume=True).environment()["resumed"]
    assert resume.keys() == {"step", "started", "torch"}


def test_a_finished_run_is_not_changed_by_a_resume(small, go):
    run = go(small, "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    go(small, "run", resume=True)
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_a_run_of_another_number_of_processes_is_refused(small, go):
    run = go(replace(small, epochs=1), "run")
    assert run.environment()["processes"] == 1
    run.environment_path.write_text(json.dumps({**run.environment(), "processes": 2}))
    with pytest.raises(InputError, match="was trained by 2 processes, not 1"):
        go(replace(small, epochs=1), "run", resume=True)


def test_an_interval_that_means_nothing_leaves_no_folder(small, go, tmp_path):
    with pytest.raises(InputError, match="--checkpoint-every often"):
        go(small, "run", checkpoint_every="often")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resumed_at_every_step_no_bit_differs():
    found = reliability("resume", "--every", "3")
    assert found["cases"] >= 4 * 7
    assert found["differing_bits"] == 0


@pytest.mark.slow
def test_kills_at_random_moments_cost_no_more_than_the_interval():
    found = reliability("kills", "--count", "10", "--interval", "2")
    assert found["kills"] == 10
    assert (found["unreadable_states"], found["differing_bits"]) == (0, 0)
    assert found["most_steps_lost"] <= 2
