"""Errors, names, files, run folders: what every room stands on."""

import errno
import os

import pytest

from mien import api
from mien.errors import (
    InputError,
    MissingExtraError,
    extra_required,
    near_names,
    quantity,
    writing_to,
)
from mien.expressions import SEVEN, canonical, label_of, parse_expressions
from mien.files import atomic_file, atomic_folder, write_json
from mien.recipe import ModelSpec, Recipe, to_dict
from mien.runs import HISTORY_COLUMNS, RunFolder

RECIPE = Recipe("a", ModelSpec("basic-cnn"))


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_file(path, "w") as handle:
        handle.write("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_file(path, "w") as handle:
        handle.write("second")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "store") as folder:
        (folder / "a").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "store") as folder:
        (folder / "a").write_text("1")
    with atomic_folder(
        tmp_path / "store", shared=True
    ) as folder:  # another was faster: theirs stays
        (folder / "a").write_text("2")
    with (
        pytest.raises(InputError, match="made by another process meanwhile"),
        atomic_folder(tmp_path / "store") as folder,
    ):
        (folder / "a").write_text("3")
    assert (tmp_path / "store" / "a").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_json_refuses_what_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (errno.ENOSPC, "the disk is full", InputError),
        (errno.EACCES, "no permission to write", InputError),
        (errno.EROFS, "no permission to write", InputError),
        (errno.ENOTDIR, "a file stands where a folder is needed", InputError),
        (errno.EISDIR, "a folder stands where a file is needed", InputError),
        (errno.EIO, "cannot be written", InputError),
    ],
)
def test_the_systems_refusals_become_sentences(code, words, kind, tmp_path):
    with pytest.raises(kind, match=words), writing_to(tmp_path):
        raise OSError(code, "refused")


def test_a_missing_extra_names_its_install_command():
    sentence = r"pip install 'mien\[train\]'"
    with pytest.raises(MissingExtraError, match=sentence), extra_required("train", "Training"):
        import no_such_package  # noqa: F401
    with pytest.raises(ModuleNotFoundError), extra_required("train", "Training"):
        import mien.no_such_module  # noqa: F401


def test_near_names():
    assert near_names("hapy", SEVEN) == "did you mean happy?"
    assert near_names("zzz", ["b", "a"]) == "known: a, b"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("Happiness", "happy"), (" ANGER ", "angry"), ("mine", "mine"), ("mu\u0308de", "m\u00fcde")],
)
def test_expressions_go_by_one_name(given, expected):
    assert canonical(given) == expected


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 faces"), (1, "1 face"), (2, "2 faces"), (12345, "12,345 faces")]
)
def test_one_is_not_said_in_the_plural(number, said):
    assert quantity(number, "face") == said


def test_a_label_set_may_be_one_text():
    """A text is a sequence, too: of its letters."""
    assert parse_expressions("Happiness, calm,sad") == ("happy", "calm", "sad")
    with pytest.raises(InputError, match="'abc': give two or more different names"):
        parse_expressions("abc")


def test_labels_are_found_by_name():
    assert label_of("Sadness", SEVEN, "here") == 4
    with pytest.raises(InputError, match=r"here: expression 'hapyy'.*did you mean happy"):
        label_of("hapyy", SEVEN, "here")


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", ""], ["joy", "happy"]])
def test_label_sets_of_one_or_with_repeats_are_refused(names):
    with pytest.raises(InputError, match="two or more different names"):
        parse_expressions(names)


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("3", [3]), ("0,2-3", [0, 2, 3])]
)
def test_seeds_are_parsed(text, seeds):
    assert api.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-", "-1", "3-1", "1,1"])
def test_seeds_that_make_no_sense_are_refused(text):
    with pytest.raises(InputError, match="--seeds"):
        api.parse_seeds(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"name": ', "not readable as JSON"),
        (b"", "not readable as JSON"),
        (bytes(100), "not readable as JSON"),
        (b'{"name": "\xff"}', "not readable as JSON"),
        (
            b'{"epochs": ' + b"9" * 10_000 + b"}",
            "not readable as JSON",
        ),  # Python reads 4,300 digits
        (b'{"a": ' * 100_000, "not readable as JSON"),
        (b'{"seconds": NaN}', "NaN is not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "it lacks"),
    ],
)
def test_a_run_with_a_damaged_recipe_is_refused(content, words, tmp_path):
    (tmp_path / "recipe.json").write_bytes(content)
    with pytest.raises(InputError, match=words):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [{"epochs": "x"}, {"model": 3}, {"expressions": None}, {"another": 1}, {"input": None}],
)
def test_a_run_whose_recipe_cannot_be_one_is_refused(changed, tmp_path):
    write_json(tmp_path / "recipe.json", to_dict(RECIPE) | changed)
    with pytest.raises(InputError, match=r"recipe\.json"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": "x"}, {"data": 5}, {"data": {"counts": "x"}}, {"resumed": {}}, {"processes": "x"}],
)
def test_facts_of_another_kind_are_refused(wrong, tmp_path):
    run = RunFolder(tmp_path)
    write_json(run.environment_path, wrong)
    with pytest.raises(InputError, match="has a wrong type; the run folder is not complete"):
        run.environment()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("0.5", "half"),
        lambda text: text.replace("0.5", "nan"),
        lambda text: text.partition("\n")[2],  # no head
        lambda text: text.replace(",step,", ",steps,"),
        lambda text: text.rstrip() + ",1,2\n",
        lambda text: text + "\0\n",
        lambda text: text + "1" * 200_000 + "\n",
        lambda text: text + "2,20\n",
    ],
)
def test_a_history_that_training_did_not_write_is_refused(change, tmp_path):
    run = RunFolder(tmp_path)
    whole = ",".join(HISTORY_COLUMNS) + "\n" + ",".join(["1", "10"] + ["0.5"] * 8) + "\n"
    run.history_path.write_text(whole)
    assert [row["step"] for row in run.history()] == [10]
    run.history_path.write_text(change(whole))
    with pytest.raises(InputError, match="not have the figures that training writes"):
        run.history()


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders there")
def test_a_pipe_in_the_place_of_a_runs_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "environment.json")
    with pytest.raises(InputError, match="not a file"):
        RunFolder(tmp_path).environment()
