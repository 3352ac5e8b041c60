"""Errors, names, files, run folders: what every room stands on."""

import errno

import pytest

from mien import api
from mien.errors import (
    InputError,
    MissingExtraError,
    extra_required,
    near_names,
    writing_to,
)
from mien.expressions import SEVEN, canonical, label_of, parse_expressions
from mien.files import atomic_file, atomic_folder, write_json


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
    with atomic_folder(tmp_path / "store") as folder:  # someone was faster: theirs stays
        (folder / "a").write_text("2")
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
