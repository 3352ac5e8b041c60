"""A sweep: its space is checked against the recipe, its journal goes on, validation alone decides."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mien import api, cli, recipes
from mien.errors import InputError, MienError
from mien.files import alone, write_json
from mien.runs import RunFolder
from mien.studies import sweep_trials
from mien.studies.sweep import sweep
from mien.studies.sweep_page import render_sweep
from mien.studies.sweep_space import assignments, read_space
from mien.training import StoppedError, override, to_dict

SPACE = """
optimizer.lr = { low = 1e-4, high = 1e-2, log = true }
batch_size = { low = 16, high = 64, log = true }
augment.flip = { choice = [0.0, 0.5] }
"""


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


def read(tmp_path, text, recipe="basic-cnn"):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return read_space(path, recipes.find(recipe))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimizer.lrr = { low = 0.1, high = 1 }", "no field 'lrr' here (did you mean lr?)"),
        ("optimiser.lr = { low = 0.1, high = 1 }", "did you mean optimizer?"),
        ("model.widht = { low = 1, high = 2 }", "no option 'widht' (did you mean width?)"),
        ("batch_size = { low = 64, high = 32 }", "low (64) has to be below high (32)"),
        ("batch_size = { low = 0, high = 32 }", "batch_size=0"),
        ("optimizer.lr = { low = 0, high = 1, log = true }", "begins above 0"),
        ("optimizer.lr = { low = 0.1, high = 1, log = true, step = 0.1 }", "log or step, not both"),
        ("batch_size = { low = 8, high = 64, step = 0.5 }", "whole numbers"),
        ("batch_size = { low = 8, hihg = 64 }", "no 'hihg' (did you mean high?)"),
        ("batch_size = { low = 8 }", "write { low = ..., high = ... }"),
        ("batch_size = { choice = [] }", "choice"),
        ("batch_size = { choice = [8], low = 1 }", "a choice has no low"),
        ("batch_size = { choice = [8, 'many'] }", "batch_size='many'"),
        ("optimizer.name = { choice = ['adam', 'adams'] }", "optimizer.name='adams'"),
        ("batch_size = 8", "is one value"),
        ("seed = { low = 0, high = 9 }", "luckiest seed"),
        ("split.seed = { low = 0, high = 9 }", "same validation faces"),
        ("batch_size = { low = 8,", "not TOML"),
        ("", "names no field"),
    ],
)
def test_a_mistake_in_a_space_is_one_sentence_that_names_the_file(tmp_path, text, said):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "space.toml"))
    assert "\n" not in str(error.value)


def test_a_range_is_of_whole_numbers_where_its_field_is(tmp_path):
    found = read(
        tmp_path,
        "batch_size = { low = 8, high = 32 }\nclip_norm = { low = 1, high = 5 }\n"
        "augment.rotation = { low = 0, high = 30 }\nearly_stopping = { low = 2, high = 9 }",
    )
    assert {one.name: one.whole for one in found} == {
        "batch_size": True,
        "clip_norm": False,
        "augment.rotation": False,
        "early_stopping": True,
    }


def test_what_is_right_only_beside_another_setting_may_be_swept(tmp_path):
    text = "optimizer.name = { choice = ['adam', 'sgd'] }\noptimizer.momentum = { low = 0.5, high = 0.9 }\n"
    found = read(tmp_path, text + "optimizer.nesterov = { choice = [false, true] }")
    assert [one.name for one in found][-1] == "optimizer.nesterov"
    assert read(tmp_path, "augment.scale = { choice = ['0.9,1.1', '1,1.2', '0.8,1'] }")
    with pytest.raises(InputError, match="nesterov needs"):
        read(tmp_path, "optimizer.nesterov = { choice = [false, true] }")


def test_every_point_of_a_space_is_a_recipe(tmp_path):
    import optuna

    text = (
        SPACE
        + "augment.scale = { choice = [[0.9, 1.1], [1.0, 1.0]] }\nema = { choice = ['none', 0.9] }"
    )
    found = read(tmp_path, text)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    scales, sizes = set(), set()
    for _ in range(30):
        params = study.ask(found.distributions()).params
        recipe = override(recipes.find("basic-cnn"), assignments(params))
        assert recipe.optimizer.lr == params["optimizer.lr"]
        assert 16 <= recipe.batch_size <= 64
        scales.add(recipe.augment.scale)
        sizes.add(recipe.batch_size)
    assert scales == {(0.9, 1.1), (1.0, 1.0)}
    assert len(sizes) > 10


class Pretended:
    """In the place of training: accuracy by the distance of the learning rate from 1e-3."""

    def __init__(self, monkeypatch, epochs=5):
        self.folders, self.settings, self.epochs = [], [], epochs
        self.stop_at = self.fail_at = None
        monkeypatch.setattr(sweep_trials, "train_trial", self)

    def __call__(self, job, folder, settings, faces, on_epoch):
        number = len(self.folders)
        self.folders.append(folder)
        self.settings.append(dict(settings))
        write_json(folder / "recipe.json", to_dict(override(job.recipe, assignments(settings))))
        if number == self.stop_at:
            raise StoppedError("stopped", signal.SIGINT)
        if number == self.fail_at:
            raise MienError("training diverged")
        import math

        accuracy = 0.6 - 0.1 * abs(math.log10(settings["optimizer.lr"]) + 3)
        for epoch in range(1, self.epochs + 1):
            on_epoch(epoch, accuracy * epoch / self.epochs, epoch == self.epochs)
        return accuracy


def quick(space, out, trials, **options):
    options = {"say": lambda _: None, **options}
    return sweep("basic-cnn", "synthetic:40", space=space, trials=trials, out=out, **options)


def test_a_sweep_finds_what_is_best_and_writes_a_recipe_that_can_be_trained(
    space, tmp_path, monkeypatch
):
    pretended = Pretended(monkeypatch)
    found = quick(space, tmp_path / "out", 18)
    assert len(found.trials) == len(pretended.folders) == 18
    assert found.best.accuracy == max(t.accuracy for t in found.trials if t.state == "complete")
    assert found.best.settings["optimizer.lr"] == pytest.approx(1e-3, rel=0.6)
    assert next(iter(found.importance)) == "optimizer.lr"
    assert sum(found.importance.values()) == pytest.approx(1)
    assert any(trial.state == "pruned" for trial in found.trials)
    chosen = api.chosen_recipe(str(found.best_path), ["epochs=3"])
    assert chosen.optimizer.lr == found.best.settings["optimizer.lr"]
    assert chosen.epochs == 3
    page = (tmp_path / "out" / "sweep.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert f"{100 * found.best.accuracy:.2f} %" in page
    assert f"mien train {found.best_path} --data synthetic:40" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    told = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf-8"))
    assert told["best"] == found.best.number
    render_sweep(found)


def test_the_same_command_goes_on_and_more_trials_add_to_what_is_there(
    space, tmp_path, monkeypatch
):
    pretended = Pretended(monkeypatch)
    first = quick(space, tmp_path / "out", 4)
    again = quick(space, tmp_path / "out", 4)
    assert len(pretended.folders) == 4
    assert again.trials == first.trials
    more = quick(space, tmp_path / "out", 6)
    assert more.trials[:4] == first.trials
    assert len(more.trials) == len(pretended.folders) == 6
    points = [tuple(settings.values()) for settings in pretended.settings]
    assert len(set(points)) == 6  # a sampler that began anew would draw the first ones again


def test_a_trial_that_was_stopped_goes_on_in_its_folder_and_counts_once(
    space, tmp_path, monkeypatch
):
    pretended = Pretended(monkeypatch)
    pretended.stop_at = 2
    with pytest.raises(StoppedError):
        quick(space, tmp_path / "out", 4)
    assert (tmp_path / "out" / "sweep.html").is_file()
    found = quick(space, tmp_path / "out", 4)
    assert pretended.folders[3] == pretended.folders[2]
    assert pretended.settings[3] == pretended.settings[2]
    assert len(set(pretended.folders)) == 4
    assert [trial.number for trial in found.trials] == [0, 1, 3, 4]
    assert {trial.state for trial in found.trials} <= {"complete", "pruned"}


def test_a_trial_that_fails_is_said_and_the_others_go_on(space, tmp_path, monkeypatch):
    pretended = Pretended(monkeypatch)
    pretended.fail_at = 1
    said = []
    found = quick(space, tmp_path / "out", 3, say=said.append)
    assert [trial.state for trial in found.trials] == ["complete", "failed", "complete"]
    assert found.trials[1].problem == "training diverged"
    assert "failed" in said[1]
    assert "training diverged" in (tmp_path / "out" / "sweep.html").read_text(encoding="utf-8")


def test_a_swept_field_cannot_be_set_as_well(space, tmp_path, monkeypatch):
    Pretended(monkeypatch)
    with pytest.raises(InputError, match=r"--set batch_size=8: .*space\.toml sweeps batch_size"):
        quick(space, tmp_path / "out", 1, overrides=["batch_size=8"])


def test_where_nothing_could_be_trained_the_first_reason_is_said(space, tmp_path, monkeypatch):
    pretended = Pretended(monkeypatch)
    pretended.fail_at = 0
    with pytest.raises(InputError, match=r"no trial was completed \(training diverged\)"):
        quick(space, tmp_path / "out", 1)


def test_another_sweep_is_not_mixed_into_a_folder(space, tmp_path, monkeypatch):
    Pretended(monkeypatch)
    quick(space, tmp_path / "out", 1)
    with pytest.raises(InputError, match=r"holds a sweep with other recipe\.epochs"):
        quick(space, tmp_path / "out", 1, overrides=["epochs=2"])
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        quick(space, tmp_path / "else", 1)


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks there")
def test_trials_that_another_process_trains_are_left_to_it_and_count(space, tmp_path, monkeypatch):
    Pretended(monkeypatch)
    said, out = [], tmp_path / "out"
    quick(space, out, 1)
    begun = []

    def meanwhile(job, *rest):  # the other process: a sweep that begins while this one trains
        begun.append(job)
        if len(begun) == 1:
            quick(space, out, 3, say=said.append)
        return 0.5

    monkeypatch.setattr(sweep_trials, "train_trial", meanwhile)
    found = quick(space, out, 3)
    assert len(begun) == 2
    assert said[-1] == "with other processes: 1 trial; the last of them writes the whole page"
    assert [trial.state for trial in found.trials] == ["complete"] * 3


def test_faces_of_the_test_split_are_not_handed_on(space, tmp_path, monkeypatch):
    handed = []

    def look(job, folder, settings, faces, on_epoch):
        handed.extend(faces)
        raise MienError("seen")

    monkeypatch.setattr(sweep_trials, "train_trial", look)
    store = api.load("synthetic:40")
    with pytest.raises(InputError):
        sweep(
            "four-block-cnn", store, space=space, trials=1, out=tmp_path / "out", say=lambda _: None
        )
    assert {tuple(set(store.splits[faces.indices].tolist())) for faces in handed} == {(0,), (1,)}


def test_without_optuna_the_extra_is_named(space, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("sweep", "sweep_result", "sweep_trials"):
        monkeypatch.delitem(sys.modules, f"mien.studies.{name}")
    assert cli.run(["sweep", "basic-cnn", "--space", str(space)]) == 2
    assert "pip install 'mien[sweep]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not readable as JSON"),
        ("[]", "not a JSON object"),
        ('{"epochs": 3}', "lacks model, name"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "best.json"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        api.chosen_recipe(str(path), [])


def test_a_recipe_file_is_the_recipe(tmp_path):
    recipe = replace(recipes.find("four-block-cnn"), epochs=7)
    write_json(tmp_path / "mine.json", to_dict(recipe))
    assert api.chosen_recipe(str(tmp_path / "mine.json"), []) == recipe


@contextmanager
def running(line, **options):
    """A process that is killed if the test fails: Popen's own block would wait for it for ever."""
    with subprocess.Popen(line, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def command(space, out, *more):
    arguments = ["sweep", "basic-cnn", "--space", space, "--data", "synthetic:60", "--out", out]
    arguments += ["--set", "epochs=3", "--device", "cpu", *more]
    return [sys.executable, "-m", "mien", *map(str, arguments)]


def test_what_a_kill_leaves_in_the_journal_does_not_stop_the_next(space, tmp_path, monkeypatch):
    """Half a line ended every later call."""
    pretended = Pretended(monkeypatch)
    first = quick(space, tmp_path / "out", 2)
    log = tmp_path / "out" / "journal.log"
    with log.open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker_id"')
    more = quick(space, tmp_path / "out", 3)
    assert more.trials[:2] == first.trials
    assert len(pretended.folders) == 3
    for line in log.read_text().splitlines():
        json.loads(line)


#: A worker that says that it holds the locks of its sweep, and keeps them.
HOLDING = """
import sys, time
from pathlib import Path
from mien import recipes
from mien.studies.sweep_space import read_space
from mien.studies.sweep_trials import SweepJob

recipe = recipes.find("basic-cnn")
space = read_space(Path(sys.argv[1]), recipe)
out = Path(sys.argv[2])
job = SweepJob(recipe, space, 3, "synthetic:40", None, False, out, "cpu", None, None)
job.study()._storage._backend._lock.acquire()
with job.turn():
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_locks_of_a_killed_worker_are_free(space, tmp_path, monkeypatch):
    """Optuna's lock, a file that only its owner removes, kept every later call waiting for ever."""
    Pretended(monkeypatch)
    quick(space, tmp_path / "out", 2)
    line = [sys.executable, "-c", HOLDING, str(space), str(tmp_path / "out")]
    with running(line, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    assert len(quick(space, tmp_path / "out", 3).trials) == 3


def test_a_signal_between_two_trials_stops_the_sweep(space, tmp_path, monkeypatch):
    """It killed the process, which could leave half a line in the journal for the other workers."""
    pretended = Pretended(monkeypatch)

    def say(text):
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StoppedError, match="the same command goes on") as stopped:
        quick(space, tmp_path / "out", 3, say=say)
    assert stopped.value.exit_code == 143
    assert len(pretended.folders) == 1
    assert len(quick(space, tmp_path / "out", 3).trials) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks there")
def test_workers_that_outlive_a_killed_sweep_are_waited_for(space, tmp_path, monkeypatch):
    pretended = Pretended(monkeypatch)
    pretended.stop_at = 1
    with pytest.raises(StoppedError):
        quick(space, tmp_path / "out", 2)
    with (
        alone(pretended.folders[1], "is training"),
        pytest.raises(InputError, match="a sweep that was killed is still training here"),
    ):
        quick(space, tmp_path / "out", 2)
    found = quick(space, tmp_path / "out", 2)
    assert [trial.state for trial in found.trials] == ["complete", "complete"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes there cannot be asked to end")
def test_workers_are_stopped_and_the_same_command_goes_on(space, tmp_path):
    out = tmp_path / "out"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = command(space, out, "--trials", "4", "--workers", "2")
    with running(line, stderr=subprocess.PIPE, env=environment) as process:
        until = time.monotonic() + 240
        while not list(out.glob("trials/*/history.csv")) and time.monotonic() < until:
            time.sleep(0.05)
        process.terminate()
        _, said = process.communicate(timeout=400)
    assert process.returncode == 143
    assert "the same command goes on" in said
    done = subprocess.run(
        [*line, "--json"], capture_output=True, text=True, env=environment, check=True, timeout=600
    )
    told = json.loads(done.stdout)
    states = [trial["state"] for trial in told["trials"]]
    assert len(states) == 4
    assert set(states) <= {"complete", "pruned"}
    folders = [trial["run"] for trial in told["trials"]]
    assert len(set(folders)) == 4
    assert len(list((out / "trials").iterdir())) == 4
    for trial in told["trials"]:
        if trial["state"] == "complete":
            kept = RunFolder.open(trial["run"]).kept_epoch()["validation_accuracy"]
            assert trial["accuracy"] == kept


#: A sweep whose first trial does not end before another process has begun one.
SHARED = """
import sys, time
from mien.files import write_json
from mien.studies import sweep_trials
from mien.studies.sweep import sweep
from mien.studies.sweep_space import assignments
from mien.training import override, to_dict

def pretended(job, folder, settings, faces, on_epoch):
    write_json(folder / "recipe.json", to_dict(override(job.recipe, assignments(settings))))
    while len(job.study().trials) < 2:
        time.sleep(0.05)
    return settings["batch_size"] / 100

sweep_trials.train_trial = pretended
sweep("basic-cnn", "synthetic:40", space=sys.argv[1], trials=5, out=sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks there")
def test_two_processes_share_the_trials_of_one_sweep(space, tmp_path):
    """As two machines that see one folder: docs/scale.md."""
    out = tmp_path / "out"
    line = [sys.executable, "-c", SHARED, str(space), str(out)]
    with running(line, stdout=subprocess.PIPE) as first:
        until = time.monotonic() + 240
        while not (out / "plan.json").exists() and time.monotonic() < until:
            time.sleep(0.05)
        second = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
        said, _ = first.communicate(timeout=600)
    shares = [re.findall(r"(?m)^trial (\d+):", one) for one in (said, second.stdout)]
    assert all(shares)
    assert sorted(map(int, [*shares[0], *shares[1]])) == list(range(5))
    told = json.loads((out / "sweep.json").read_text(encoding="utf-8"))  # the last one's
    assert [trial["number"] for trial in told["trials"]] == list(range(5))
    assert len({tuple(trial["settings"].values()) for trial in told["trials"]}) == 5
