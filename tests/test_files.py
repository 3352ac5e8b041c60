"""Files that are either whole or not there: failing disks, modes, what killed processes leave."""

import errno
import json
import os
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from mien import files
from mien.errors import InputError
from mien.files import (
    alone,
    atomic_file,
    atomic_folder,
    cache_folder,
    claim,
    fitting,
    from_home,
    holds_something,
    sweep,
    write_json,
)

#: Each call of atomic_file that can fail, and which of its calls of that kind.
CALLS = {
    "making the file": (os, "open", 1),
    "syncing the file": (os, "fsync", 1),
    "its mode": (os, "chmod", 1),
    "moving it to its place": (os, "replace", 1),
    "syncing the folder": (os, "fsync", 2),
}


@pytest.fixture
def failing(monkeypatch):
    """Makes the n-th call of a function fail, as a disk does."""

    def fail(module, name, number, code):
        calls, real = [], getattr(module, name)

        def injected(*arguments, **options):
            calls.append(name)
            if len(calls) == number:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, injected)

    return fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", CALLS)
def test_a_failing_disk_leaves_the_old_file_and_one_sentence(call, code, failing, tmp_path):
    path = tmp_path / "state.json"
    write_json(path, "old")
    module, name, number = CALLS[call]
    failing(module, name, number, code)
    with pytest.raises(InputError, match=r"state\.json: (the disk is full|cannot be written)"):
        write_json(path, "new")
    # The folder is synced after the new file is there, whole; every other failure comes before.
    assert path.read_text() == ('"new"\n' if call == "syncing the folder" else '"old"\n')
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("number", [1, 2])
def test_of_two_renames_either_may_fail(number, failing, tmp_path):
    path, before = tmp_path / "state", tmp_path / "before"
    path.write_text("old")
    failing(os, "replace", number, errno.EIO)
    with (
        pytest.raises(InputError, match="cannot be written"),
        atomic_file(path, "w", keep=before) as file,
    ):
        file.write("new")
    kept = path if number == 1 else before
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]


def test_the_file_before_is_kept_where_asked(tmp_path):
    path, before = tmp_path / "state", tmp_path / "before"
    for content in ("first", "second", "third"):
        with atomic_file(path, "w", keep=before) as file:
            file.write(content)
    assert (path.read_text(), before.read_text()) == ("third", "second")


@pytest.mark.parametrize(("held", "is_written"), [(3, True), (100, False)])
def test_on_windows_a_file_that_somebody_holds_is_tried_again(
    held, is_written, tmp_path, monkeypatch
):
    attempts, replace = [], Path.replace

    def refusing(self, target):
        attempts.append(target)
        if len(attempts) <= held:
            raise PermissionError(errno.EACCES, "in use")
        return replace(self, target)

    monkeypatch.setattr("mien.files._IS_WINDOWS", True)
    monkeypatch.setattr("mien.files.time.sleep", lambda _: None)
    monkeypatch.setattr(Path, "replace", refusing)
    with nullcontext() if is_written else pytest.raises(InputError, match="no permission to write"):
        write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").exists() == is_written
    assert len(attempts) < 10


def test_a_folder_that_cannot_be_synced_by_its_kind_is_no_failure(failing, tmp_path):
    failing(os, "fsync", 2, errno.EINVAL)
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").read_text() == "1\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_mode_is_kept_and_a_new_file_has_an_ordinary_one(tmp_path):
    def mode(path):
        return stat.S_IMODE(path.stat().st_mode)

    before = os.umask(0o027)
    try:
        write_json(tmp_path / "new.json", 1)
        assert mode(tmp_path / "new.json") == 0o640
        (tmp_path / "new.json").chmod(0o604)
        write_json(tmp_path / "new.json", 2)
        assert mode(tmp_path / "new.json") == 0o604
    finally:
        os.umask(before)


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path):
    path = tmp_path / "state.pt"
    others = [tmp_path / name for name in ("state.pt", ".state.pt", ".other.ab.part", "x.part")]
    left = tmp_path / ".state.pt.k3x9.part"
    for file in (*others, left):
        file.write_text("")
    sweep(path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_folder_in_which_a_process_was_killed_before_its_first_file_was_whole_is_empty(tmp_path):
    assert not holds_something(tmp_path / "none")
    (tmp_path / ".plan.json.abcd.part").write_text('{"half')
    assert not holds_something(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    assert holds_something(tmp_path)


def test_a_folder_that_cannot_be_synced_does_not_appear(failing, tmp_path):
    failing(os, "fsync", 1, errno.EIO)
    with (
        pytest.raises(InputError, match="cannot be written"),
        atomic_folder(tmp_path / "store") as folder,
    ):
        (folder / "a").write_text("1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no such locks there")
def test_a_folder_is_held_by_one_and_free_when_that_one_is_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from mien.files import alone\n"
        "with alone(Path(sys.argv[1]), 'is at work'): print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match="another process is at work here"),
            alone(tmp_path, "is at work"),
        ):
            pass
        other.kill()
    with alone(tmp_path, "is at work"):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["笑" * 83 + ".jpg", "x" * 251 + ".jpg"])
def test_names_as_long_as_a_file_system_takes_can_be_written(name, tmp_path):
    path = tmp_path / name
    with atomic_file(path, "w") as handle:
        handle.write("whole")

    assert path.read_text() == "whole"
    assert [left.name for left in tmp_path.iterdir()] == [name]


def test_longer_names_are_cut_and_stay_different():
    one, other = (fitting(Path("笑" * 100 + f"{n}.jpg")).name for n in (1, 2))

    assert one != other
    assert one.endswith("1.jpg")
    assert max(len(name.encode()) for name in (one, other)) <= 255


def test_a_folder_is_claimed_for_one_piece_of_work(tmp_path):
    path = tmp_path / "out" / "plan.json"
    identity = {"recipe": {"lr": 0.1, "betas": (0.9, 0.999)}, "data": "a"}
    asked = []

    def notes():
        asked.append(1)
        return {"pace": 3}

    first = claim(path, identity, "a sweep", notes)
    (path.parent / "trial").mkdir()
    assert claim(path, identity, "a sweep", notes) == json.loads(json.dumps(first))
    assert first["pace"] == 3
    assert asked == [1]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"recipe": {"lr": 0.2, "ema": None}, "data": "a"}, "recipe.lr"),
        ({"recipe": {"lr": 0.1}, "data": "b"}, "recipe.ema, data"),
        ({"recipe": {"lr": 0.1, "ema": None, "new": 1}, "data": "a"}, "recipe.new"),
        ({"recipe": {"ema": None} | dict.fromkeys("abcdefg")}, "recipe.a, .*, recipe.f and 2 more"),
    ],
)
def test_another_piece_of_work_is_refused_and_the_difference_named(tmp_path, other, named):
    path = tmp_path / "plan.json"
    claim(path, {"recipe": {"lr": 0.1, "ema": None}, "data": "a"}, "a sweep", lambda: {"made": 1})
    with pytest.raises(InputError, match=f"holds a sweep with other {named}; use the same"):
        claim(path, other, "a sweep")


def test_a_folder_of_something_else_is_not_claimed(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        claim(tmp_path / "plan.json", {"data": "a"}, "a sweep")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        claim(tmp_path / "thesis.tex" / "plan.json", {"data": "a"}, "a sweep")
    (tmp_path / "plan.json").write_text('{"data": ')
    with pytest.raises(InputError, match=r"plan\.json: not readable as JSON"):
        claim(tmp_path / "plan.json", {"data": "a"}, "a sweep")
    assert (tmp_path / "plan.json").read_text() == '{"data": '


def test_a_home_that_is_not_known_is_no_traceback(monkeypatch):
    """As in a container: a user without a name has none, and nobody has that of ~nobody-of-this-name."""
    monkeypatch.setenv("HOME", "/home/me")
    assert from_home("~/faces") == Path("/home/me/faces")
    assert from_home("~nobody-of-this-name/faces") == Path("~nobody-of-this-name/faces")

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    for name in ("MIEN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(InputError, match="no home folder; set MIEN_CACHE"):
        cache_folder()


@pytest.mark.skipif(os.name == "nt", reason="folders are not locked there")
def test_a_lock_on_a_file_that_its_last_holder_removed_is_none(tmp_path, monkeypatch):
    """Two commands then wrote one table: the second locked the removed file, the third a new one."""
    journal = tmp_path / "faces.csv.done"
    journal.touch()
    locked = files._locked

    def late(descriptor):
        journal.unlink()
        return locked(descriptor)

    monkeypatch.setattr(files, "_locked", late)
    with (
        pytest.raises(InputError, match="another process is writing rows here"),
        alone(journal, "is writing rows"),
    ):
        pass
