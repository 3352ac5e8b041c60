"""The command line: what it prints where, and one sentence for every mistake."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien import cli, recipes
from mien.api.inputs import read_for
from mien.errors import InputError
from mien.expressions import SEVEN
from mien.files import alone
from mien.runs import RunFolder

FAST = ["--data", "synthetic:100", "--set", "epochs=1", "--device", "cpu"]


def mien(capsys, *arguments):
    """(exit status, standard output, standard error) of a command line."""
    status = cli.run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def run(capsys, tmp_path):
    status, _, err = mien(capsys, "train", "basic-cnn", "--out", tmp_path / "run", *FAST)
    assert status == 0, err
    return tmp_path / "run"


def test_the_model_in_the_package_teaches(capsys, tmp_path):
    data = ["--data", "synthetic:70"]
    status, out, err = mien(
        capsys, "teach", "mien-people", "--for", "basic-cnn", *data, "--views", "1",
        "--out", tmp_path / "soft", "--json",
    )  # fmt: skip
    assert status == 0, err
    assert json.loads(out)["views"] == 1
    student = ["--set", f"targets.teacher={tmp_path / 'soft'}", "--epochs", "1", "--device", "cpu"]
    status, _, err = mien(
        capsys, "train", "basic-cnn", *data, *student, "--out", tmp_path / "student"
    )
    assert status == 0, err


def test_train_evaluate_compare_answer_in_json(capsys, tmp_path):
    status, out, err = mien(
        capsys, "train", "basic-cnn", "--out", tmp_path / "run", "--json", *FAST
    )
    assert status == 0, err
    trained = json.loads(out)["runs"][0]
    assert trained["epochs"] == 1
    assert "epoch   1/1" in err
    for split in ("validation", "test"):
        status, out, err = mien(
            capsys, "evaluate", tmp_path / "run", "--data", "synthetic:100", "--split", split,
            "--json", "--device", "cpu",
        )  # fmt: skip
        assert status == 0, err
        answer = json.loads(out)["evaluations"][0]
        assert answer["split"] == split
    on_validation = json.loads((tmp_path / "run" / "evaluation-validation.json").read_text())
    accuracy = on_validation["views"]["none"]["official"]["accuracy"]
    assert accuracy == pytest.approx(trained["validation_accuracy"])
    status, out, err = mien(
        capsys, "compare", tmp_path / "run", "--out", tmp_path / "page", "--json"
    )
    assert status == 0, err
    json.loads(out)
    assert (tmp_path / "page" / "compare.html").is_file()


def test_several_seeds_are_trained_and_summed_up(capsys, tmp_path):
    out = tmp_path / "seeds"
    status, _, err = mien(capsys, "train", "basic-cnn", "--out", out, "--seeds", "0-1", *FAST)
    assert status == 0, err
    assert sorted(path.name for path in out.iterdir()) == ["seed-0", "seed-1"]
    status, text, err = mien(capsys, "evaluate", out, "--data", "synthetic:100", "--device", "cpu")
    assert status == 0, err
    assert "±" in text


def test_seeds_and_single_runs_do_not_share_a_folder(capsys, tmp_path, run):
    status, _, err = mien(capsys, "train", "basic-cnn", "--out", run, "--seeds", "0", *FAST)
    assert (status, "holds a single run" in err) == (2, True)
    out = tmp_path / "seeds"
    assert mien(capsys, "train", "basic-cnn", "--out", out, "--seeds", "3", *FAST)[0] == 0
    status, _, err = mien(capsys, "train", "basic-cnn", "--out", out, *FAST)
    assert (status, "runs of several seeds" in err) == (2, True)
    status, _, err = mien(capsys, "train", "basic-cnn", "--out", out, "--seeds", "0-4", *FAST)
    assert (status, "seed-3: holds a run already" in err) == (2, True)
    status, _, err = mien(
        capsys, "train", "basic-cnn", "--out", out, "--seeds", "3-4", "--resume", *FAST
    )
    assert status == 0, err
    assert sorted(path.name for path in out.iterdir()) == ["seed-3", "seed-4"]


def test_resuming_what_is_not_there_is_refused(capsys, tmp_path):
    for more in ([], ["--seeds", "0-1"]):
        out = tmp_path / "typo"
        status, _, err = mien(capsys, "train", "basic-cnn", "--out", out, "--resume", *FAST, *more)
        assert (status, "typo" in err, out.exists()) == (2, True, False)


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_resuming_a_run_that_is_being_trained_is_refused_before_the_data_are_read(
    capsys, run, monkeypatch
):
    def read(*_, **__):
        raise AssertionError("the data were read")

    monkeypatch.setattr("mien.api.training.load_for", read)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with alone(run, "is training"):
        status, _, err = mien(capsys, "train", "basic-cnn", "--out", run, "--resume", *FAST)
    assert status == 2
    (line,) = err.splitlines()
    assert line.endswith(f"{run}: another process is training here; wait for it, or stop it")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_is_scored_on_what_it_was_trained_on_when_nobody_says(capsys, run):
    status, out, err = mien(capsys, "evaluate", run, "--json", "--device", "cpu")
    assert status == 0, err
    assert json.loads(out)["evaluations"][0]["data"]["source"] == "synthetic:100"


def test_runs_get_a_free_folder_when_none_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert mien(capsys, "train", "basic-cnn", *FAST)[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "basic-cnn",
        "basic-cnn-2",
    ]


def test_own_classes_are_trained_and_scored_by_name(capsys, tmp_path):
    generator = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 5)):
        for level, name in enumerate(("tense", "calm", "laughing")):
            folder = tmp_path / "faces" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                face = generator.integers(0, 60, (48, 48)) + 90 * level
                Image.fromarray(face.astype(np.uint8)).save(folder / f"{number}.png")
    labels = ["--labels", "calm,laughing,tense"]
    data = ["--data", tmp_path / "faces", "--device", "cpu", *labels]
    status, _, err = mien(
        capsys, "train", "four-block-cnn", *data, "--out", tmp_path / "run",
        "--set", "epochs=12", "--set", "batch_size=8",
    )  # fmt: skip
    assert status == 0, err
    status, out, err = mien(  # it knows its data and its labels
        capsys, "evaluate", tmp_path / "run", "--device", "cpu", "--split", "test", "--json"
    )
    assert status == 0, err
    answer = json.loads(out)["evaluations"][0]
    assert answer["expressions"] == ["calm", "laughing", "tense"]
    assert answer["views"]["none"]["official"]["accuracy"] > 0.8


def test_data_is_counted_and_pictured(capsys, tmp_path):
    sheet = tmp_path / "samples.png"
    status, out, err = mien(capsys, "data", "inspect", "synthetic:100", "--out", sheet, "--json")
    assert status == 0, err
    assert json.loads(out)["images"] == 140
    with Image.open(sheet) as picture:
        assert picture.width > 500
    status, out, err = mien(capsys, "data", "prepare", "synthetic:100")
    assert (status, "140 faces" in out, "ready in" in err) == (0, True, True)


def test_models_and_recipes_are_listed(capsys):
    listed = json.loads(mien(capsys, "models", "--json")[1])["models"]
    assert {"name": "four-block-cnn", "parameters": 980_679}.items() <= {
        key: value
        for model in listed
        if model["name"] == "four-block-cnn"
        for key, value in model.items()
        if key != "input"
    }.items()
    assert "System B" in mien(capsys, "recipes")[1]


@pytest.mark.slow
def test_the_doctor_finds_this_installation_sound(capsys):
    status, out, err = mien(capsys, "doctor", "--json")
    assert status == 0, err
    assert [check["passed"] for check in json.loads(out)["checks"]] == [True] * 5


MISTAKES = {
    "missing data": (["train", "basic-cnn", "--data", "no/such.csv"], "no/such.csv"),
    "unknown recipe": (["train", "basic-cn"], "did you mean basic-cnn"),
    "unknown field": (["train", "basic-cnn", "--set", "epoch=3"], "did you mean epochs"),
    "unknown value": (["train", "basic-cnn", "--set", "optimizer.name=adan"], "'adam', 'adamw'"),
    "unknown model": (["train", "basic-cnn", "--set", "model.name=basic"], "basic-cnn"),
    "unknown option": (["train", "basic-cnn", "--set", "model.dropuot=0.1"], "dropout"),
    "unknown objective": (["train", "basic-cnn", "--set", "objective.name=x"], "cross-entropy"),
    "unknown device": (["train", "basic-cnn", "--device", "gpu"], "use auto, cpu, cuda"),
    "bad seeds": (["train", "basic-cnn", "--seeds", "4-"], "0-4 or 0,2,7"),
    "bad labels": (["train", "basic-cnn", "--labels", "happy,happy"], "two or more different"),
    "no soft targets": (["train", "basic-cnn", "--set", "targets.teacher=x", "--dry-run"], "mien teach"),
    "no votes": (["train", "basic-cnn", "--set", "targets.votes=x.csv", "--dry-run"], "x.csv: no such file"),
    "votes elsewhere": (
        ["train", "basic-cnn", "--set", "targets.votes=."], "a folder, not a file; give the file"
    ),
    "empty teacher": (["train", "basic-cnn", "--set", "targets.teacher="], "the path is empty"),
    "share of nothing": (
        ["train", "basic-cnn", "--set", "targets.teacher_share=0.5"], "there is no teacher"
    ),
    "votes' share of nothing": (
        ["train", "basic-cnn", "--set", "targets.votes_share=1"], "there are no votes"
    ),
    "circular": (
        ["teach", "mien-people", "--for", "basic-cnn", "--set", "targets.teacher=x", "--out", "y"],
        "targets.teacher=none",
    ),
    "card of a model": (["card", "mien-people"], "a card is written from a run"),
    "half a split": (["evaluate", "mien-people", "--split", "val"], "did you mean validation?"),
    "a lonely ensemble": (["evaluate", "mien-people", "--ensemble"], "two or more runs"),
    "resume nothing": (["train", "basic-cnn", "--resume"], "--resume needs --out"),
    "missing run": (["evaluate", "no/such/run"], "no such run folder"),
    "unknown dataset": (["data", "download", "fer2014"], "fer2013"),
    "compare missing": (["compare", "no/such/run"], "no/such/run"),
    "no such command": (["trian"], "trian"),
    "no such option": (["train", "basic-cnn", "--sets", "x"], "--set"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, words = MISTAKES[case]
    if arguments[0] == "train" and "--data" not in arguments:
        arguments = [*arguments, "--data", "synthetic:100"]
    status, out, err = mien(capsys, *arguments)
    assert status == 2, err
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "empty", [["--out", ""], ["--out="], ["--model", ""], ["--csv", "rows.csv", ""]]
)
def test_an_unset_variable_is_not_the_current_folder(empty, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("a.png")

    status, out, err = mien(capsys, "predict", "a.png", *empty)

    assert (status, out) == (2, "")
    assert err.startswith(f"error: {empty[-1] or empty[-2]}")
    assert "an empty value; give one" in err
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_that_is_not_a_run_is_refused(capsys, tmp_path):
    status, _, err = mien(capsys, "evaluate", tmp_path)
    assert (status, "not a run folder" in err) == (2, True)
    (tmp_path / "recipe.json").write_text('{"name": "cake"}')
    status, _, err = mien(capsys, "evaluate", tmp_path)
    assert (status, "not a recipe of mien" in err) == (2, True)


def test_a_folder_that_is_not_a_run_is_neither_compared_nor_resumed(capsys, tmp_path):
    for arguments in (
        ["compare", tmp_path, "--out", tmp_path / "page"],
        ["train", "basic-cnn", "--out", tmp_path, "--resume", *FAST],
    ):
        status, _, err = mien(capsys, *arguments)
        assert (status, "not a run folder" in err) == (2, True)
        assert list(tmp_path.iterdir()) == []


def test_an_empty_split_is_refused(capsys, tmp_path, run):
    table = tmp_path / "faces.csv"
    pixels = " ".join(["7"] * 2304)
    table.write_text(f"emotion,pixels,Usage\n3,{pixels},PrivateTest\n")
    out = tmp_path / "new"
    status, _, err = mien(capsys, "train", "basic-cnn", "--data", table, "--out", out)
    assert (status, "there is no train face in it" in err, out.exists()) == (2, True, False)
    status, _, err = mien(capsys, "evaluate", run, "--data", table, "--split", "validation")
    assert (status, "the validation split is empty" in err) == (2, True)
    assert not (run / "evaluation-validation.json").exists()


@pytest.mark.parametrize(
    ("code", "words"), [(28, "the disk is full"), (13, "no permission to write")]
)
def test_what_cannot_be_written_is_one_sentence_everywhere(
    code, words, capsys, tmp_path, run, monkeypatch
):
    assert mien(capsys, "evaluate", run, "--device", "cpu")[0] == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def refuse(self, *_):
        raise OSError(code, "refused")

    monkeypatch.setattr(Path, "replace", refuse)
    for arguments in (
        ["train", "basic-cnn", "--out", tmp_path / "new", *FAST],
        ["evaluate", run, "--device", "cpu"],
        ["compare", run, "--out", tmp_path / "page"],
        ["data", "inspect", "synthetic:100", "--out", tmp_path / "sheet.png"],
    ):
        status, _, err = mien(capsys, *arguments)
        assert (status, words in err, "Traceback" in err) == (2, True, False), err
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and run not in path.parents]


def test_mistakes_are_said_before_the_data_are_read(capsys, tmp_path, run, monkeypatch):
    def too_late(*_, **__):
        raise AssertionError("the data were read")

    monkeypatch.setattr("mien.api.inputs.load", too_late)
    for arguments in (
        ["train", "basic-cnn", "--device", "gpu"],
        ["train", "basic-cnn", "--out", run],
        ["train", "basic-cnn", "--set", "model.dropuot=1"],
        ["evaluate", run, "--split", "tset"],
        ["evaluate", run, "--tta", "eleven"],
    ):
        assert mien(capsys, *arguments)[0] == 2


def test_a_recipe_is_shown_whole(capsys):
    status, out, _ = mien(capsys, "recipes", "four-block-cnn")
    assert (status, "Published:" in out, "optimizer.lr" in out) == (0, True, True)
    assert mien(capsys, "recipes", "four-blok-cnn")[0] == 2


def test_a_taken_folder_is_refused_and_left_alone(capsys, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    status, _, err = mien(capsys, "train", "basic-cnn", "--out", run, *FAST)
    assert (status, "holds a run already" in err) == (2, True)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_unknown_split_and_view_are_refused(capsys, run):
    for option, value in (("--split", "tset"), ("--tta", "eleven")):
        status, _, err = mien(capsys, "evaluate", run, "--data", "synthetic:100", option, value)
        assert (status, value in err) == (2, True)


def test_a_gpu_that_is_not_there_is_refused(capsys, tmp_path, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert mien(capsys, "evaluate", run, "--device", "cuda")[0] == 2
    out = tmp_path / "new"
    status, _, err = mien(
        capsys, "train", "basic-cnn", "--out", out, "--data", "synthetic:100", "--device", "cuda"
    )
    assert (status, "0 CUDA GPUs" in err, out.exists()) == (2, True, False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send these to one process")
def test_ctrl_c_and_termination_leave_a_run_that_goes_on(tmp_path):
    """In a process of its own, with real signals."""
    import signal
    import time

    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = tmp_path / str(status)
        command = [
            sys.executable, "-m", "mien", "train", "basic-cnn", "--data", "synthetic:100",
            "--device", "cpu", "--out", out, "--set", "epochs=10000",
        ]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 240
        while not (out / "history.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        assert process.returncode == status, err
        assert "--resume" in err
        assert "Traceback" not in err
        assert (out / "last" / "state.pt").exists()


def test_short_options_are_fields_of_the_recipe(capsys, tmp_path):
    out = tmp_path / "run"
    arguments = [
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--lr",
        "2e-3",
        "--set",
        "precision=float32",
    ]
    status, _, err = mien(
        capsys, "train", "basic-cnn", "--data", "synthetic:50", "--out", str(out), *arguments
    )
    assert status == 0, err
    recipe = json.loads((out / "recipe.json").read_text())
    assert (recipe["epochs"], recipe["batch_size"], recipe["optimizer"]["lr"]) == (2, 16, 0.002)
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")
    assert RunFolder.open(out).plot().get_axes()[0].get_title(loc="left").startswith("Validation")


def test_a_wrong_value_or_option_of_training_is_explained(capsys):
    status, _, err = mien(capsys, "train", "basic-cnn", "--epochs", "many")
    assert status == 2
    assert "epochs" in err
    status, _, err = mien(capsys, "train", "basic-cnn", "--learning-rate", "1")
    assert status == 2
    assert "--set FIELD=VALUE" in err
    status, _, err = mien(capsys, "train")
    assert status == 2
    assert "`mien recipes` lists them" in err


def test_ctrl_c_during_the_imports_leaves_no_traceback(monkeypatch):
    from mien.__main__ import main

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130


@pytest.mark.parametrize(
    "command",
    [
        "train basic-cnn --data",
        "teach mien-people --for basic-cnn --out soft --data",
        "diagnose basic-cnn --data",
        "sweep basic-cnn --space space.toml --trials 1 --data",
        "reproduce --data",
        "data inspect",
        "data audit",
        "data prepare",
    ],
)
def test_what_refuses_damaged_pictures_leaves_them_out_if_told(
    command, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("space.toml").write_text('"optimizer.lr" = {low = 0.001, high = 0.1, log = true}\n')
    for label in ("happy", "sad"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        (tmp_path / "faces" / label / "a.png").write_bytes(b"no picture")
    _, _, err = mien(capsys, *command.split(), "faces")
    assert "leave them out with --skip-damaged" in err
    _, _, err = mien(capsys, *command.split(), "faces", "--skip-damaged")
    assert "no faces in the source" in err  # all were damaged


def numbered_csv(path, order):
    """The challenge's table of 70 drawn faces, in an order."""
    from mien.data import load

    store = load("synthetic:70")
    usages = ("Training", "PublicTest", "PrivateTest")
    lines = ["emotion,pixels,Usage"]
    for face in order(np.arange(len(store))):
        pixels = " ".join(map(str, store.pixels[face].ravel()))
        lines.append(f"{store.labels[face]},{pixels},{usages[store.splits[face]]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_same_faces_in_another_order_are_neither_resumed_nor_taught(capsys, tmp_path):
    forth = numbered_csv(tmp_path / "forth.csv", lambda faces: faces)
    back = numbered_csv(tmp_path / "back.csv", lambda faces: faces[::-1])
    fast = ["--epochs", "1", "--device", "cpu", "--out", tmp_path / "run"]
    assert mien(capsys, "train", "basic-cnn", "--data", forth, *fast)[0] == 0
    status, _, err = mien(capsys, "train", "basic-cnn", "--data", back, *fast, "--resume")
    assert status == 2
    assert "these faces in another order" in err
    taught = ["teach", tmp_path / "run", "--for", "basic-cnn", "--views", "1", "--device", "cpu"]
    assert mien(capsys, *taught, "--data", forth, "--out", tmp_path / "soft")[0] == 0
    status, _, err = mien(
        capsys, "train", "basic-cnn", "--data", back, "--set",
        f"targets.teacher={tmp_path / 'soft'}", *fast[:-1], tmp_path / "student",
    )  # fmt: skip
    assert status == 2
    assert "holds soft targets with other data.order" in err


def test_numbers_of_other_data_are_not_read_in_the_networks_order(capsys, tmp_path):
    own = "surprise,fear,disgust,happy,sad,angry,neutral"
    data = numbered_csv(tmp_path / "own.csv", lambda faces: faces)
    fast = ["--epochs", "1", "--device", "cpu", "--out", tmp_path / "run"]
    assert mien(capsys, "train", "basic-cnn", "--data", data, "--labels", own, *fast)[0] == 0
    score = ["evaluate", tmp_path / "run", "--device", "cpu", "--json"]
    status, out, err = mien(capsys, *score)
    assert status == 0, err
    other = numbered_csv(tmp_path / "other.csv", lambda faces: faces[7:])
    status, _, err = mien(capsys, *score, "--data", other, "--split", "test")
    assert status == 2
    assert "its labels are numbers" in err
    # A map goes by the names of classes, and these have none.
    status, _, err = mien(capsys, *score, "--data", other, "--split", "test", "--map", "disgust=")
    assert status == 2
    assert "its labels are numbers" in err
    status, out, err = mien(
        capsys, *score, "--data", other, "--split", "test", "--labels", ",".join(SEVEN)
    )
    assert status == 0, err
    assert "made on other data" in json.dumps(json.loads(out))


def test_numbers_of_folders_are_not_believed_for_a_set_that_begins_with_the_seven(tmp_path):
    """AffectNet's eight begin with neutral; FER+'s and mien's do not."""
    eight = (*SEVEN, "contempt")
    for number in range(8):
        face = tmp_path / "test" / str(number) / "1.png"
        face.parent.mkdir(parents=True)
        Image.new("L", (48, 48), 20 * number).save(face)
    recipe = replace(recipes.find("basic-cnn"), expressions=eight)

    with pytest.raises(InputError, match="its labels are numbers"):
        read_for(recipe, tmp_path, None, None, "e" * 64)

    store = read_for(recipe, tmp_path, sorted(eight), None, "e" * 64)
    assert [store.expressions[label] for label in store.labels] == sorted(eight)


def test_a_list_of_exclusions_of_a_training_that_did_not_begin_is_not_the_next_ones(
    capsys, tmp_path
):
    assert mien(capsys, "data", "audit", "synthetic:100", "--out", tmp_path / "audit")[0] == 0
    listed = tmp_path / "audit" / "exclusions.csv"
    out = ["--out", tmp_path / "run"]
    status, _, _ = mien(
        capsys, "train", "basic-cnn", "--exclude", listed, *out, *FAST,
        "--set", f"targets.teacher={tmp_path}",
    )  # fmt: skip
    assert status == 2
    assert not (tmp_path / "run" / "exclusions.csv").exists()
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "exclusions.csv").write_bytes(listed.read_bytes())
    assert mien(capsys, "train", "basic-cnn", *out, *FAST)[0] == 0
    assert not (tmp_path / "run" / "exclusions.csv").exists()


@pytest.fixture
def five_left_out(tmp_path):
    """A list of five training faces of synthetic:100."""
    from mien.data import load
    from mien.data.exclusions import write_exclusions

    store = load("synthetic:100")
    five = np.flatnonzero(store.splits == 0)[:5]
    write_exclusions(tmp_path / "five.csv", store, [(five, ["seen"] * 5)])
    return tmp_path / "five.csv"


def test_seeds_that_begin_later_leave_out_the_same_faces(capsys, tmp_path, five_left_out):
    train = ["train", "basic-cnn", "--out", tmp_path / "runs", *FAST]
    assert mien(capsys, *train, "--seeds", "0", "--exclude", five_left_out)[0] == 0
    assert mien(capsys, *train, "--seeds", "0-1", "--resume")[0] == 0
    first, second = (tmp_path / "runs" / name for name in ("seed-0", "seed-1"))
    assert (second / "exclusions.csv").read_bytes() == five_left_out.read_bytes()
    counts = [
        json.loads((run / "environment.json").read_text())["data"]["counts"]
        for run in (first, second)
    ]
    assert counts[0] == counts[1]


def test_training_faces_are_those_that_the_run_was_trained_on(capsys, tmp_path, five_left_out):
    for name, listed in (("whole", []), ("part", ["--exclude", five_left_out])):
        out = tmp_path / name
        assert mien(capsys, "train", "basic-cnn", "--out", out, *listed, *FAST)[0] == 0
        assert mien(capsys, "evaluate", out, "--split", "train", "--device", "cpu")[0] == 0
    rows = [
        (tmp_path / name / "probabilities-train.csv").read_text().splitlines()
        for name in ("whole", "part")
    ]
    assert len(rows[0]) == len(rows[1]) + 5


def test_a_student_may_leave_out_what_its_teachers_are_not_asked_about(
    capsys, tmp_path, five_left_out
):
    out, soft = tmp_path / "teacher", tmp_path / "soft"
    assert mien(capsys, "train", "basic-cnn", "--out", out, *FAST)[0] == 0
    status, _, err = mien(
        capsys, "teach", out, "--for", "basic-cnn", "--views", "1", "--out", soft,
        "--exclude", five_left_out, "--data", "synthetic:100", "--device", "cpu",
    )  # fmt: skip
    assert status == 0, err
    assert f"--exclude {five_left_out}" in err
    status, _, err = mien(
        capsys, "train", "basic-cnn", "--out", tmp_path / "student", *FAST,
        "--exclude", five_left_out, "--set", f"targets.teacher={soft}",
    )  # fmt: skip
    assert status == 0, err


def test_pictures_of_mixed_sizes_are_audited_at_the_size_of_the_training(capsys, tmp_path):
    from mien.data import load

    store = load("synthetic:70")
    for face, (pixels, label) in enumerate(zip(store.pixels, store.labels, strict=True)):
        split = ("train", "validation", "test")[store.splits[face]]
        side = 48 + face % 3
        folder = tmp_path / "faces" / split / store.expressions[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).resize((side, side)).save(folder / f"{face}.png")
    data, audited = tmp_path / "faces", tmp_path / "audit"
    train = [
        "train", "basic-cnn", "--data", data, "--dry-run", "--exclude", audited / "exclusions.csv",
        "--set", "input.height=64", "--set", "input.width=64",
    ]  # fmt: skip
    assert mien(capsys, "data", "audit", data, "--out", audited)[0] == 0
    status, _, err = mien(capsys, *train)
    assert status == 2
    assert "--size 64" in err
    assert mien(capsys, "data", "audit", data, "--out", audited, "--size", "64")[0] == 0
    status, _, err = mien(capsys, *train)
    assert status == 0, err


def test_a_run_without_damaged_pictures_is_exported_after_its_data_have_moved(capsys, tmp_path):
    from mien.data import load

    store = load("synthetic:400")
    for face, (pixels, label) in enumerate(zip(store.pixels, store.labels, strict=True)):
        split = ("train", "validation", "test")[store.splits[face]]
        folder = tmp_path / "faces" / split / store.expressions[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(folder / f"{face}.png")
    (tmp_path / "faces" / "train" / "happy" / "broken.png").write_bytes(b"no picture")
    train = ["train", "basic-cnn", "--data", tmp_path / "faces", "--out", tmp_path / "run"]
    assert mien(capsys, *train, "--epochs", "1", "--device", "cpu", "--skip-damaged")[0] == 0
    moved = (tmp_path / "faces").rename(tmp_path / "moved")
    status, _, err = mien(
        capsys, "export", tmp_path / "run", "--data", moved, "--out", tmp_path / "m.onnx"
    )
    assert status == 0, err
    assert (tmp_path / "m.onnx").is_file()
