"""Trackers: what the real libraries hold afterwards, and that none of them can end a training."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mien import api, cli
from mien.errors import InputError, MissingExtraError
from mien.runs import RunFolder
from mien.training import ModelSpec, StoppedError, Watcher, loop, trackers_named, train
from mien.training.trackers import ExperimentTracker, Tracking, weights_and_biases

from .wandb_server import wandb_server

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # the libraries' own, of each other
    "ignore::ResourceWarning",  # MLflow never closes its database
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

SLOW = pytest.mark.slow
REAL = ["tensorboard", "wandb-offline", pytest.param("mlflow", marks=SLOW)]


@pytest.fixture(autouse=True)
def nobody_logged_in(monkeypatch, tmp_path):
    """No account, server or folder of the person who runs the tests; a look at every step."""
    for name in os.environ:
        if name.startswith(("WANDB_", "MLFLOW_")):
            monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / "home" / name))
    monkeypatch.setattr(loop, "_LOOK_EVERY", -1)
    yield
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        wandb.teardown()


@pytest.fixture
def recipe(recipe):
    """The one of all training tests with a network that is saved at once."""
    return replace(recipe, model=ModelSpec("basic-cnn", {"width": 0.125}))


# What the libraries hold, read back: {name: [(step, value), ...]}, images {name: pixels}, facts.


def read_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    figures = {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    images = {
        name: pixels_of(events.Images(name)[-1].encoded_image_string)
        for name in events.Tags()["images"]
    }
    texts = [
        events.Tensors(name)[0].tensor_proto.string_val[0].decode()
        for name in events.Tags()["tensors"]
    ]
    return figures, images, "\n".join(texts)


def read_wandb(run, which=-1):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    folder = sorted((run.path / "wandb").glob("offline-run-*"))[which]
    figures, images, facts = {}, {}, ""
    # W&B's own process writes the file's end after `finish` has returned.
    wandb.teardown()
    for content in leveldb_log(next(folder.glob("*.wandb")).read_bytes()[7:]):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            facts += record.run.run_id + "".join(u.value_json for u in record.run.config.update)
        elif kind == "exit":
            facts += f" exit {record.exit.exit_code}"
        elif kind == "history":
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                value = json.loads(item.value_json)
                if name.endswith("/path"):
                    png = (folder / "files" / value).read_bytes()
                    images[name.removesuffix("/path")] = pixels_of(png)
                elif isinstance(value, int | float) and not name.startswith("_"):
                    figures.setdefault(name, []).append((record.history.step.num, value))
    return figures, images, facts


def leveldb_log(log):
    """Records of LevelDB's log format: 7-byte headers, pieces that never cross a 32 KiB block."""
    place, record = 0, b""
    while place + 7 <= len(log):
        left = 32768 - (place + 7) % 32768  # the file's own header counts
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", log, place)
        record += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def read_mlflow(run, uri=None):
    from mlflow import MlflowClient

    client = MlflowClient(uri or f"sqlite:///{run.path / 'mlflow' / 'mlflow.db'}")
    identity = json.loads((run.path / "tracking.json").read_text())["mlflow"]
    entry = client.get_run(identity)
    figures = {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(identity, name)]
        for name in entry.data.metrics
    }
    images = {
        file.path.removesuffix(".png"): np.asarray(
            client_image(client, identity, file.path, run.path)
        )
        for file in client.list_artifacts(identity)
    }
    facts = json.dumps([entry.data.params, entry.data.tags, entry.info.status])
    return figures, images, facts


def client_image(client, identity, path, scratch):
    from PIL import Image

    return Image.open(client.download_artifacts(identity, path, str(scratch))).convert("RGB")


def pixels_of(png):
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


READ = {"tensorboard": read_tensorboard, "wandb-offline": read_wandb, "mlflow": read_mlflow}


@pytest.mark.parametrize("name", REAL)
def test_a_tracker_holds_what_the_run_folder_holds(name, recipe, splits, store, tmp_path, capsys):
    run = train(
        recipe, splits.train, splits.validation, tmp_path / "a run", watchers=trackers_named([name])
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert "warning" not in said.err
    assert said.err.startswith(f"{name}: ")
    figures, images, facts = READ[name](run)

    history = run.history()
    for column in history[0].keys() - {"step"}:
        told = figures[column]
        assert [step for step, _ in told] == [7, 14]
        assert [value for _, value in told] == pytest.approx([row[column] for row in history])
    assert [step for step, _ in figures["running/loss"]] == list(range(1, 15))
    running, accuracy = dict(figures["running/loss"]), dict(figures["running/accuracy"])
    assert [running[7], running[14]] == pytest.approx([row["train_loss"] for row in history])
    # There is no gap before the first validation; in the second epoch it is measured against that.
    before = history[0]["validation_accuracy"]
    assert dict(figures["running/gap"]) == pytest.approx(
        {step: accuracy[step] - before for step in range(8, 15)}, abs=1e-6
    )

    height, width, channels = images["confusion_matrix"].shape
    assert width > height > 400
    assert channels == 3
    assert np.ptp(images["confusion_matrix"]) > 100  # something was drawn
    assert store.fingerprint in facts
    assert "basic-cnn" in facts
    assert run.environment()["torch"] in facts


class Crash(Watcher):
    """Ends a training at a step as no program should: with an exception, or by a signal."""

    def __init__(self, step, how):
        self.step, self.how = step, how

    def stepped(self, moment):
        if moment.step == self.step:
            self.how()


def fail():
    raise RuntimeError("the power is gone")


@pytest.mark.parametrize("name", ["tensorboard", pytest.param("mlflow", marks=SLOW)])
def test_steps_that_are_taken_again_are_told_once(name, recipe, splits, tmp_path):
    """The crash comes after 10 steps, the last saved state is of step 7."""
    faces, out = (splits.train, splits.validation), tmp_path / "run"
    with pytest.raises(RuntimeError, match="power"):
        train(recipe, *faces, out, watchers=[*trackers_named([name]), Crash(10, fail)])
    identity = (out / "tracking.json").read_text()
    run = train(recipe, *faces, out, resume=True, watchers=trackers_named([name]))
    assert (out / "tracking.json").read_text() == identity
    figures, images, _ = READ[name](run)
    assert [step for step, _ in figures["running/loss"]] == list(range(1, 15))
    assert [step for step, _ in figures["running/gap"]] == list(range(8, 15))
    assert figures["epoch"] == [(7, 1), (14, 2)]
    assert "confusion_matrix" in images


@SLOW
def test_wandb_offline_goes_on_in_the_same_run_after_a_stop(recipe, splits, tmp_path, monkeypatch):
    faces, out = (splits.train, splits.validation), tmp_path / "run"
    stop = Crash(10, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(StoppedError):
        train(recipe, *faces, out, watchers=[*trackers_named(["wandb-offline"]), stop])
    run = train(recipe, *faces, out, resume=True, watchers=trackers_named(["wandb-offline"]))
    identity = json.loads((out / "tracking.json").read_text())["wandb"]
    steps = []
    for which, status in ((0, 130), (1, 0)):
        figures, _, facts = read_wandb(run, which)
        assert facts.startswith(identity)
        assert f"exit {status}" in facts
        steps += [step for step, _ in figures["running/loss"]]
    assert steps == list(range(1, 15))

    # Uploaded later, by W&B's own command, the two pieces are one curve.
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        pieces = [str(piece) for piece in (out / "wandb").glob(f"offline-run-*-{identity}")]
        command = [sys.executable, "-m", "wandb", "sync", *pieces]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert [row["step"] for row in server.history] == list(range(1, 15))


@SLOW
def test_wandb_online_goes_on_in_the_same_run_after_a_crash(
    recipe, splits, store, tmp_path, monkeypatch, capsys
):
    """The real client and a made-up server: steps 8 to 10 are taken twice and told once."""
    faces, out = (splits.train, splits.validation), tmp_path / "run"
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_PROJECT", "faces")
        with pytest.raises(RuntimeError, match="power"):
            train(recipe, *faces, out, watchers=[*trackers_named(["wandb"]), Crash(10, fail)])
        assert len(server.history) == 10
        run = train(recipe, *faces, out, resume=True, watchers=trackers_named(["wandb"]))
    identity = json.loads((out / "tracking.json").read_text())["wandb"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == 2 * f"wandb: {server.url}/me/faces/runs/{identity}\n"
    assert [row["_step"] for row in server.history] == list(range(1, 15))
    assert server.exit_codes == [1, 0]
    for row in run.history():
        told = server.history[int(row["step"]) - 1]
        assert {name: told[name] for name in row if name != "step"} == pytest.approx(
            {name: value for name, value in row.items() if name != "step"}
        )
    assert store.fingerprint in server.configuration
    assert any("confusion_matrix" in file for file in server.files)


@SLOW
def test_mlflow_writes_where_its_variables_say(recipe, splits, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "faces")
    monkeypatch.chdir(tmp_path)
    stop = Crash(10, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(StoppedError):
        train(
            recipe,
            splits.train,
            splits.validation,
            tmp_path / "run",
            watchers=[*trackers_named(["mlflow"]), stop],
        )
    run = RunFolder(tmp_path / "run")
    assert not (run.path / "mlflow").exists()
    figures, _, facts = read_mlflow(run, uri)
    assert len(figures["running/loss"]) == 10
    assert '"KILLED"' in facts
    from mlflow import MlflowClient

    assert MlflowClient(uri).get_experiment_by_name("faces") is not None


@SLOW
def test_a_server_that_cannot_be_reached_costs_one_line(
    recipe, splits, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens at "discard"
    monkeypatch.setattr(weights_and_biases, "_START_WAIT", 2)
    run = train(
        recipe,
        splits.train,
        splits.validation,
        tmp_path / "run",
        watchers=trackers_named(["wandb"]),
    )
    assert len(run.history()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: wandb: ")


class Moody(ExperimentTracker):
    """Counts its calls, chatters on standard output and raises at one kind of call."""

    library = "moody"

    def __init__(self, raises_at):
        self.raises_at, self.calls = raises_at, []

    def _called(self, name):
        print(name)  # noqa: T201
        self.calls.append(name)
        if name == self.raises_at:
            raise OSError(f"no space left for {name}\nsecond line")

    def begin(self, run, facts, first_step, identity):
        self._called("begin")
        return "1", "here"

    def log(self, figures, step):
        self._called("log")

    def picture(self, name, pixels_HWC, caption, step):
        self._called("picture")

    def end(self, exit_code):
        self._called(f"end {exit_code}")


@pytest.mark.parametrize("event", ["begin", "log", "picture", "end 0"])
def test_a_tracker_that_fails_costs_one_line_and_nothing_else(
    event, recipe, splits, tmp_path, capsys
):
    faces = (splits.train, splits.validation)
    recipe = replace(recipe, epochs=1)
    moody = Moody(event)
    run = train(recipe, *faces, tmp_path / "run", watchers=[Tracking("moody", moody)])
    assert len(run.history()) == 1
    assert run.environment()["seconds"] is not None  # to the very end
    assert moody.calls.count(event) == 1
    assert moody.calls[-1] == event  # silence
    said = capsys.readouterr()
    assert said.out == ""
    warnings = [line for line in said.err.splitlines() if line.startswith("warning")]
    assert warnings == [
        f"warning: moody: no space left for {event}; training goes on and is no longer logged there"
    ]


def test_a_tracker_hears_every_event_and_how_it_ended(recipe, splits, tmp_path):
    faces, content = (splits.train, splits.validation), Moody(None)
    try:
        fail()
    except RuntimeError:  # being inside a handler is no sign of failure
        train(recipe, *faces, tmp_path / "run", watchers=[Tracking("moody", content)])
    assert content.calls == ["begin", *["log"] * 16, "picture", "end 0"]


def test_a_training_is_the_same_with_and_without_a_tracker(recipe, splits, tmp_path):
    faces, recipe = (splits.train, splits.validation), replace(recipe, epochs=1)
    alone = train(recipe, *faces, tmp_path / "alone")
    tracked = train(recipe, *faces, tmp_path / "tracked", watchers=[Tracking("m", Moody(None))])
    assert tracked.best_weights.read_bytes() == alone.best_weights.read_bytes()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["tensorbord"], "no tracker 'tensorbord' (did you mean tensorboard?)"),
        (["wandb"], "run `wandb login` or set WANDB_API_KEY, or use --track wandb-offline"),
        (["wandb", "wandb-offline"], "choose one of them"),
    ],
)
@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_what_can_be_known_is_refused_before_data_are_read(
    names, sentence, seeds, tmp_path, monkeypatch
):
    if len(names) > 1:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with pytest.raises(InputError) as refused:
        if seeds is None:
            api.train("basic-cnn", tmp_path / "no data", tmp_path / "run", track=names)
        else:
            api.train_seeds(seeds, "basic-cnn", tmp_path / "no data", tmp_path / "run", track=names)
    assert sentence in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_key_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(InputError, match="wandb login"):
        trackers_named(["wandb"])


@pytest.mark.parametrize(
    ("name", "package"),
    [("wandb-offline", "wandb"), ("tensorboard", "tensorboard"), ("mlflow", "sqlalchemy")],
)
def test_a_tracker_that_is_not_installed_names_the_extra(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[track\]'"):
        trackers_named([name])


def test_the_command_line_tracks_and_keeps_its_output(tmp_path, capsys):
    arguments = ["train", "basic-cnn", "--data", "synthetic:100", "--set", "epochs=1", "--json"]
    out = tmp_path / "run"
    assert cli.run([*arguments, "--out", str(out), "--track", "tensorboard"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["runs"][0]["epochs"] == 1
    assert f"tensorboard --logdir {out / 'tensorboard'}" in said.err
    assert any((out / "tensorboard").iterdir())


@SLOW
def test_all_trackers_together_leave_standard_output_alone(tmp_path):
    names = ("wandb-offline", "tensorboard", "mlflow")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mien", "train", "basic-cnn", "--data", "synthetic:100"),
            *("--set", "epochs=1", "--out", str(tmp_path / "run"), "--device", "cpu", "--json"),
            *(word for name in names for word in ("--track", name)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["epochs"] == 1
    lines = done.stderr.splitlines()
    assert not [line for line in lines if "warning" in line.lower()]
    first_words = [line.partition(":")[0] for line in lines]
    assert [word for word in first_words if word in names] == list(names)
