"""Reproducing the reference systems: what is trained, kept, gone on with; and what the page says of it."""

import json
import shutil
import signal
import statistics
from pathlib import Path

import pytest

from mien import api, cli, pages, recipes
from mien.data import load
from mien.errors import InputError
from mien.pages import plots_of_runs
from mien.runs import RunFolder
from mien.studies import reproduction
from mien.studies.reproduce import reproduce
from mien.studies.reproduction import survey
from mien.studies.reproduction_page import write_reproduction
from mien.training import StoppedError, Watcher

FACES = "synthetic:70"
NAMES = ["basic-cnn", "four-block-cnn"]


def quick(
    out, *, data=FACES, only=NAMES, epochs=1, seeds=(0,), watchers=(), said=None, overrides=()
):
    """A quick pass on few drawn faces; what it says is appended to `said`."""
    return reproduce(
        data,
        out,
        only=only,
        overrides=[f"epochs={epochs}", *overrides],
        seeds=seeds,
        device="cpu",
        watchers=watchers,
        say=(lambda _: None) if said is None else said.append,
    )


@pytest.fixture(scope="module", autouse=True)
def no_reports():
    """The report of each run is another test's matter, and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "write_report", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """A folder with a quick pass of two recipes, two seeds each. Not to be changed: `copied` is for that."""
    out = tmp_path_factory.mktemp("reproduction") / "out"
    quick(out, seeds=(0, 1))
    return out


@pytest.fixture
def copied(passed, tmp_path):
    return Path(shutil.copytree(passed, tmp_path / "out"))


@pytest.fixture
def no_training(monkeypatch):
    """Training and scoring are mistakes."""

    def refuse(*_, **__):
        raise AssertionError("nothing was to be trained or scored")

    monkeypatch.setattr(api, "train", refuse)
    monkeypatch.setattr(api, "evaluate", refuse)


class Stop(Watcher):
    """Sends a signal after the first epoch."""

    def epoch_ended(self, row, confusion_KK, *, best):
        signal.raise_signal(signal.SIGTERM)


def row_of(found, name):
    (row,) = [row for row in found.rows if row.name == name]
    return row


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def as_in_full(run, faces):
    """Makes a shortened run look like a whole one on so many faces."""
    name = run.recipe().name
    epochs = recipes.find(name).epochs
    edit(run.recipe_path, lambda recipe: recipe.update(epochs=epochs))
    counts = {"train": faces - 100, "validation": 100}
    edit(run.environment_path, lambda content: content["data"].update(counts=counts))


def test_every_recipe_of_every_system_has_its_row(passed):
    assert [row.name for row in survey(passed).rows] == recipes.reference_names()
    states = {row.name: row.state for row in survey(passed).rows}
    assert {states.pop(name) for name in NAMES} == {"shortened"}
    assert set(states.values()) == {"not run"}


def test_a_quick_pass_is_marked_and_never_counts_as_a_reproduction(passed):
    row = row_of(survey(passed), "four-block-cnn")
    assert (row.state, row.remark) == ("shortened", "1 of 50 epochs")
    assert all(item.ours is not None for item in row.besides)
    assert all(item.difference is None and item.inside is None for item in row.besides)
    page = (passed / "reproduce.html").read_text()
    assert "<strong>0 of" in page
    assert "1 of 50 epochs" in page
    assert "shortened: 1 of 50 epochs" in (passed / "reproduce.md").read_text()


def test_figures_are_those_of_the_runs(passed):
    runs = [RunFolder.open(passed / "four-block-cnn" / f"seed-{seed}") for seed in (0, 1)]
    scores = {
        (split, view): [
            run.evaluation(split)["views"][view]["official"]["accuracy"] for run in runs
        ]
        for split in ("validation", "test")
        for view in ("none", "flip")
    }
    losses = [run.evaluation("test")["views"]["none"]["official"]["cross_entropy"] for run in runs]
    saved = json.loads((passed / "reproduce.json").read_text())
    (row,) = [row for row in saved["rows"] if row["recipe"] == "four-block-cnn"]
    for split, view in scores:
        both = scores[split, view]
        found = row["accuracy"][split][view]["official"]
        assert found["mean"] == pytest.approx(statistics.mean(both))
        assert found["sd"] == pytest.approx(statistics.stdev(both))
        text = f"{100 * statistics.mean(both):.2f} ± {100 * statistics.stdev(both):.2f} %"
        for file in ("reproduce.html", "reproduce.md"):
            assert text in (passed / file).read_text()
    accuracy, loss = row["figures"]
    assert (accuracy["figure"], accuracy["published"]) == ("test_accuracy", 0.6333)
    assert accuracy["ours"]["mean"] == pytest.approx(statistics.mean(scores["test", "none"]))
    assert (loss["figure"], loss["published"]) == ("test_loss", 1.1434)
    assert loss["ours"]["mean"] == pytest.approx(statistics.mean(losses))
    lows = [
        run.evaluation("test")["views"]["none"]["official"]["accuracy_interval"][0] for run in runs
    ]
    assert accuracy["interval"][0] == pytest.approx(statistics.mean(lows))
    assert (row["seeds"], row["runs"]) == (
        [0, 1],
        ["four-block-cnn/seed-0", "four-block-cnn/seed-1"],
    )
    assert row["parameters"] == 980_679
    assert row["data"]["fingerprint"] == load(FACES).fingerprint


def test_validation_figures_agree_with_the_evaluation(passed):
    run = RunFolder.open(passed / "basic-cnn" / "seed-0")
    official = run.evaluation("validation")["views"]["none"]["official"]
    row = reproduction.Row("basic-cnn", (run,), "shortened")
    (validation,) = [item for item in row.besides if item.figure == "validation_accuracy"]
    assert validation.ours.mean == pytest.approx(official["accuracy"])
    assert validation.interval == pytest.approx(tuple(official["accuracy_interval"]))


def test_finished_runs_are_kept_and_evaluated_ones_not_evaluated_again(copied, no_training):
    said = []
    found = quick(copied, seeds=(0, 1), said=said)
    assert not found.failures
    assert [Path(line.partition(":")[0]).name for line in said] == ["seed-0", "seed-1"] * 2


def test_a_finished_run_that_is_not_what_was_asked_for_is_kept_and_said(copied, no_training):
    said = []
    quick(copied, only=["basic-cnn"], epochs=2, said=said)
    assert "though it differs in epochs" in said[0]


def test_a_run_of_mien_train_is_taken_as_it_is(tmp_path):
    run = api.train(
        "basic-cnn",
        FACES,
        tmp_path / "basic-cnn",
        overrides=["epochs=1"],
        device="cpu",
        watchers=[],
    )
    weights = run.best_weights.read_bytes()
    found = quick(tmp_path, only=["basic-cnn"])
    assert row_of(found, "basic-cnn").runs == (run,)
    assert run.best_weights.read_bytes() == weights
    assert run.evaluation("test") is not None
    found = quick(tmp_path, only=["basic-cnn"], seeds=(3,))
    assert "is a run of seed 0" in found.failures["basic-cnn"][0]


def test_other_weights_are_evaluated_again(copied):
    one, two = (RunFolder.open(copied / "basic-cnn" / f"seed-{seed}") for seed in (0, 1))
    shutil.copy(two.best_weights, one.best_weights)
    assert row_of(survey(copied), "basic-cnn").evaluations == {}
    untouched = two.evaluation_path("test").stat().st_mtime_ns
    found = quick(copied, only=["basic-cnn"], seeds=(0, 1))
    accuracy = two.evaluation("test")["views"]["none"]["official"]["accuracy"]
    assert one.evaluation("test")["views"]["none"]["official"]["accuracy"] == accuracy
    assert two.evaluation_path("test").stat().st_mtime_ns == untouched
    assert set(row_of(found, "basic-cnn").evaluations) == {"validation", "test"}


def test_a_stopped_reproduction_leaves_its_page_and_goes_on(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(StoppedError) as stopped:
        quick(out, epochs=2, watchers=[Stop()])
    assert stopped.value.exit_code == 143
    row = row_of(survey(out), "basic-cnn")
    assert (row.state, row.remark.partition(";")[0]) == ("unfinished", "1 of 2 epochs")
    assert "unfinished" in (out / "reproduce.html").read_text()
    assert not (out / "four-block-cnn").exists()
    row = row_of(quick(out, epochs=2, only=["basic-cnn"]), "basic-cnn")
    assert (row.state, row.epochs.mean) == ("shortened", 2)
    at_once = api.train(
        "basic-cnn", FACES, tmp_path / "one", overrides=["epochs=2"], device="cpu", watchers=[]
    )
    assert row.runs[0].last_weights.read_bytes() == at_once.last_weights.read_bytes()


@pytest.mark.slow
def test_one_that_fails_does_not_stop_the_others(tmp_path):
    with pytest.raises(StoppedError):
        quick(tmp_path, epochs=2, watchers=[Stop()])
    said = []
    found = quick(tmp_path, said=said)
    failed, done = row_of(found, "basic-cnn"), row_of(found, "four-block-cnn")
    assert failed.state == "failed"
    assert "another recipe (it differs in epochs)" in failed.remark
    assert done.state == "shortened"
    assert list(found.failures) == ["basic-cnn"]
    assert failed.remark in (tmp_path / "reproduce.html").read_text()
    assert failed.remark in said[0]


def test_a_failing_seed_does_not_hide_the_others(copied):
    (copied / "basic-cnn" / "seed-1" / "environment.json").unlink()
    rows = [row for row in survey(copied).rows if row.name == "basic-cnn"]
    assert [row.state for row in rows] == ["shortened", "failed"]
    assert "environment.json: missing" in rows[1].remark


@pytest.mark.slow
def test_two_sources_of_data_share_a_page(tmp_path):
    quick(tmp_path, only=["basic-cnn"])
    run = RunFolder.open(tmp_path / "basic-cnn" / "seed-0")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    said = []
    found = quick(tmp_path, data="synthetic:90", said=said)
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    page = (tmp_path / "reproduce.html").read_text()
    for name, data in zip(NAMES, (FACES, "synthetic:90"), strict=True):
        row = row_of(found, name)
        assert (row.data["source"], row.state) == (data, "shortened")
        assert f"{data} {load(data).fingerprint[:8]}" in page
    # What the first one lacks is not scored on the second one's data.
    run.evaluation_path("test").unlink()
    quick(tmp_path, data="synthetic:90", only=["basic-cnn"], said=said)
    assert "was trained on other data" in said[-1]
    assert run.evaluation("test") is None


def test_seeds_trained_on_different_data_are_different_rows(copied):
    quick(copied, data="synthetic:90", only=["basic-cnn"], seeds=(2,))
    rows = [row for row in survey(copied).rows if row.name == "basic-cnn"]
    assert sorted(row.seeds for row in rows) == [[0, 1], [2]]
    page = (copied / "reproduce.html").read_text()
    assert page.count("basic-cnn, shortened") > page.count("four-block-cnn, shortened")


@pytest.mark.parametrize(
    ("faces", "change", "state", "remark"),
    [
        (32_298, lambda _: None, "in full", ""),
        (32_297, lambda _: None, "other faces", "on 32,297 faces, not 32,298"),
        (32_298, lambda r: r["optimizer"].update(lr=0.01), "changed", "optimizer.lr=0.01, not"),
        (32_298, lambda r: r["model"]["options"].update(dropout=0.1), "changed", "dropout=0.1"),
        (32_298, lambda r: r.update(epochs=60), "changed", "epochs=60, not 50"),
    ],
)
def test_a_difference_stands_where_the_recipe_was_kept(copied, faces, change, state, remark):
    shutil.rmtree(copied / "four-block-cnn" / "seed-1")
    run = RunFolder.open(copied / "four-block-cnn" / "seed-0")
    as_in_full(run, faces)
    edit(run.recipe_path, change)
    found = survey(copied)
    row = row_of(found, "four-block-cnn")
    assert row.state == state
    assert remark in row.remark
    official = run.evaluation("test")["views"]["none"]["official"]
    accuracy, loss = row.besides
    if state != "in full":
        assert (accuracy.difference, loss.difference, accuracy.inside) == (None, None, None)
        return
    assert accuracy.difference == pytest.approx(official["accuracy"] - 0.6333)
    assert loss.difference == pytest.approx(official["cross_entropy"] - 1.1434)
    low, high = official["accuracy_interval"]
    assert accuracy.inside == (low <= 0.6333 <= high)
    page = write_reproduction(found)
    assert f"{100 * accuracy.difference:+.2f}" in page.with_suffix(".md").read_text()
    assert "<strong>1 of" in page.read_text()


def test_system_d_is_laid_beside_the_last_epoch(passed, tmp_path):
    shutil.copytree(passed / "basic-cnn" / "seed-0", tmp_path / "improved-cnn" / "seed-0")
    run = RunFolder.open(tmp_path / "improved-cnn" / "seed-0")
    head, line = run.history_path.read_text().splitlines()
    first, last = (
        ",".join(
            str({"train_accuracy": t, "validation_accuracy": v, "gap": t - v}.get(name, value))
            for name, value in zip(head.split(","), line.split(","), strict=True)
        )
        for t, v in ((0.5, 0.6), (0.9, 0.4))
    )
    run.history_path.write_text("\n".join([head, first, last]) + "\n")
    row = reproduction.Row("improved-cnn", (run,), "in full")
    ours = {item.figure: item for item in row.besides}
    assert ours["validation_accuracy"].ours.mean == 0.4
    assert ours["train_accuracy"].ours.mean == 0.9
    assert ours["gap"].ours.mean == 0.5
    assert ours["gap"].difference == pytest.approx(0.5 - 0.1076)
    low, high = ours["validation_accuracy"].interval
    assert ours["gap"].interval == pytest.approx((0.9 - high, 0.9 - low))
    assert ours["train_accuracy"].interval is None
    fifth = reproduction.Row("enhanced-cnn-v2", (run,), "in full")
    best = {item.figure: item for item in fifth.besides}["best_validation_accuracy"]
    assert best.ours.mean == 0.6


def test_pictures_show_every_run(passed):
    histories = {name: [run.history() for run in RunFolder.expand(passed / name)] for name in NAMES}
    panels = plots_of_runs.panels(histories, {"basic-cnn": 0.57})
    first, second = (axes for axes in panels.axes if axes.get_visible())
    assert (first.get_title("left"), second.get_title("left")) == tuple(NAMES)
    assert [len(axes.lines) for axes in (first, second)] == [5, 4]  # a published line, 2 a seed
    (legend,) = plots_of_runs.gaps(histories).legends
    last = {
        name: statistics.mean(history[-1]["gap"] for history in seeds)
        for name, seeds in histories.items()
    }
    widest_first = sorted(last, key=last.get, reverse=True)
    assert [text.get_text() for text in legend.get_texts()] == [
        f"{name}  {100 * last[name]:+.1f}" for name in widest_first
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"only": ["basic-cn"]}, "did you mean basic-cnn"),
        ({"only": "basic-cnn, simple-cn"}, "'simple-cn' .did you mean simple-cnn"),
        ({"only": []}, "names no recipe"),
        ({"data": "no/such/file.csv"}, "no/such/file.csv"),
        ({"epochs": 0}, "epochs"),
        ({"only": ["basic-cnn"], "epochs": "1 2"}, "epochs"),
        ({"only": ["basic-cnn"], "overrides": ["seed=3"]}, "seeds are given by"),
    ],
)
def test_mistakes_are_said_before_anything_is_done(tmp_path, wrong, words):
    with pytest.raises(InputError, match=words):
        quick(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_the_page_says(copied, capsys, no_training):
    arguments = ["reproduce", "--data", FACES, "--out", str(copied), "--device", "cpu"]
    arguments += ["--only", "basic-cnn", "--epochs", "1"]
    assert cli.run([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads((copied / "reproduce.json").read_text())
    assert "is finished and kept" in said.err
    assert cli.run(arguments) == 0
    assert "four-block-cnn" in capsys.readouterr().out


def test_the_command_leaves_with_1_when_a_recipe_failed(tmp_path, capsys):
    with pytest.raises(StoppedError):
        quick(tmp_path, epochs=2, only=["basic-cnn"], watchers=[Stop()])
    status = cli.run(
        [
            "reproduce",
            "--data",
            FACES,
            "--out",
            str(tmp_path),
            "--only",
            "basic-cnn",
            "--epochs",
            "1",
        ]
    )
    said = capsys.readouterr()
    assert (status, "it differs in epochs" in said.err, "failed" in said.out) == (1, True, True)
