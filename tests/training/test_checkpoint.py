"""The state: checked before it is trusted, the one before it kept, saved as often as asked."""

import io
import time

import pytest
import torch

from mien.errors import InputError
from mien.runs import RunFolder
from mien.training.checkpoint import Interval, Timer, load_state, save_state


@pytest.fixture
def run(tmp_path):
    """A run whose state was saved twice."""
    run = RunFolder(tmp_path / "run")
    for step in (1, 2):
        save_state(run, {"step": step, "weights": torch.arange(1000.0) + step})
    return run


def test_the_last_state_is_the_one_that_is_loaded(run):
    state, remark = load_state(run)
    assert (state["step"], remark) == (2, None)
    assert torch.equal(state["weights"], torch.arange(1000.0) + 2)


def flip(position):
    def damage(content):
        content[position] ^= 1
        return content

    return damage


DAMAGES = {
    "first byte": flip(0),
    "digest": flip(20),
    "middle": flip(2500),
    "last byte": flip(-1),
    "cut short": lambda content: content[:-100],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\0",
    "zeros, as a power cut leaves them": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_gives_way_to_the_one_before_it(damage, run):
    content = bytearray(run.state_path.read_bytes())
    run.state_path.write_bytes(DAMAGES[damage](content))
    state, remark = load_state(run)
    assert state["step"] == 1
    assert remark.startswith(f"{run.state_path}: damaged (")
    assert remark.endswith("training goes on from the state before it")
    # What is saved next pushes out nothing but what was loaded now.
    save_state(run, {"step": 3})
    run.state_path.unlink()
    assert load_state(run)[0]["step"] == 1


def test_a_process_killed_between_the_two_renames_lost_nothing(run):
    run.state_path.replace(run.earlier_state_path)
    state, remark = load_state(run)
    assert (state["step"], remark) == (2, None)


def test_without_a_whole_state_there_is_nothing_to_go_on_from(run):
    run.state_path.write_bytes(b"?")
    run.earlier_state_path.write_bytes(b"!")
    with pytest.raises(InputError, match=r"state\.pt: damaged .*before\.pt: damaged .*train again"):
        load_state(run)
    run.state_path.unlink()
    run.earlier_state_path.unlink()
    with pytest.raises(InputError, match="nothing to resume"):
        load_state(run)


def test_a_state_from_before_there_were_digests_is_read(run):
    bare = io.BytesIO()
    torch.save({"step": 7}, bare)
    run.state_path.write_bytes(bare.getvalue())
    assert load_state(run) == ({"step": 7}, None)


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "m", "0m", "nanm", "-1m", "10s", "", "often"])
def test_an_interval_that_means_nothing_is_refused(text):
    with pytest.raises(InputError, match=r"--checkpoint-every .*: write 200 for steps, 10m"):
        Interval.parse(text)


def test_an_interval_of_steps_begins_with_each_state():
    timer = Timer(Interval.parse("3"))
    assert [step for step in range(1, 5) if timer.is_over(step)] == [3, 4]
    timer.restart(4)
    assert [step for step in range(5, 9) if timer.is_over(step)] == [7, 8]


def test_an_interval_of_minutes_is_one_of_the_clock(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    timer = Timer(Interval.parse("0.5m"))
    clock[0] = 129.0
    assert not timer.is_over(1_000_000)
    clock[0] = 130.0
    assert timer.is_over(0)


def test_no_interval_is_never_over():
    assert not Timer(Interval.parse("none")).is_over(10**9)
