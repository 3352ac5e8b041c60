"""Which device is taken, and how much of its memory faces may take."""

import pytest
import torch

from mien.errors import InputError
from mien.models.device import has_bfloat16, memory_for_faces, pick_device
from mien.training.distributed import join


@pytest.fixture
def apple(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)


@pytest.fixture
def two_gpus(monkeypatch):
    """Two CUDA devices, and the list of those that were made the process's own."""
    chosen = []
    monkeypatch.setattr("mien.models.device._make_float32_exact", lambda: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: chosen.append(str(device)))
    return chosen


@pytest.mark.usefixtures("apple")
def test_auto_takes_the_gpu_of_an_apple():
    assert pick_device().type == "mps"
    assert not has_bfloat16(torch.device("mps"))


@pytest.mark.usefixtures("apple")
def test_half_of_what_an_apple_has_left_is_for_faces(monkeypatch):
    monkeypatch.setattr("torch.mps.recommended_max_memory", lambda: 10_000)
    monkeypatch.setattr("torch.mps.driver_allocated_memory", lambda: 4_000)
    assert memory_for_faces(torch.device("mps")) == 3_000


@pytest.mark.usefixtures("apple")
def test_several_processes_do_not_share_the_gpu_of_an_apple(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one GPU, for one process"):
        join("mps")


def test_mps_elsewhere_is_one_sentence(monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(InputError, match="finds no GPU of Apple"):
        pick_device("mps")


def test_a_gpu_that_is_named_becomes_the_process_own(two_gpus):
    assert pick_device("cuda").index is None
    assert two_gpus == []
    pick_device("cuda:1")
    assert two_gpus == ["cuda:1"]
    with pytest.raises(InputError, match="this machine has 2 CUDA GPUs"):
        pick_device("cuda:2")
