"""The queue of benchmarks: who runs beside whom, and weights in files that can be taken along."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

QUEUES = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def queue():
    spec = importlib.util.spec_from_file_location("run_queue", QUEUES / "run_queue.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_who_is_timed_runs_alone(queue):
    plain, timed = (queue.Job(n, ["train"], ["first"], Path(n), n == "b") for n in "ab")
    assert not queue.may_start(plain, [], set(), at_once=2)
    assert queue.may_start(plain, [plain], {"first"}, at_once=2)
    assert not queue.may_start(plain, [plain, plain], {"first"}, at_once=2)
    assert queue.may_start(timed, [], {"first"}, at_once=2)
    assert not queue.may_start(timed, [plain], {"first"}, at_once=2)
    assert not queue.may_start(plain, [timed], {"first"}, at_once=2)


@pytest.mark.parametrize("name", ["flagship", "ablations"])
def test_queues_can_be_read_and_what_is_timed_stands_alone(queue, tmp_path, name):
    jobs = queue.read_queue(QUEUES / f"{name}.toml", "DATA", tmp_path)
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(job.alone for job in jobs if job.name.startswith("speedrun"))


def test_weights_are_halved_into_files_of_a_limited_size(queue, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "_LARGEST", 64)
    tensors = {name: torch.rand(16) for name in "abc"} | {"count": torch.tensor(3)}
    save_file(tensors, tmp_path / "all")
    queue.save_halved(tmp_path / "all", tmp_path / "run.safetensors")
    kept = {}
    for path in tmp_path.glob("run*.safetensors"):
        part = load_file(path)
        assert sum(tensor.nbytes for tensor in part.values()) <= 64
        kept |= part
    assert kept["count"] == 3
    assert torch.equal(kept["b"], tensors["b"].half())
