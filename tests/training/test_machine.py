"""The precision that a training picks for itself, and its record of the machine."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mien.errors import InputError
from mien.training import machine
from mien.training.machine import autocast_type

CPU = torch.device("cpu")
PLAIN = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
DEPTHWISE = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3, groups=8)))


@pytest.fixture
def able(monkeypatch):
    monkeypatch.setattr("mien.training.machine.has_bfloat16", lambda _: True)


@pytest.mark.usefixtures("able")
def test_auto_is_bfloat16_where_the_hardware_has_it():
    assert autocast_type("auto", CPU, PLAIN) == torch.bfloat16
    assert autocast_type("float32", CPU, PLAIN) == torch.float32


@pytest.mark.usefixtures("able")
def test_auto_spares_a_cpu_depthwise_convolutions_in_bfloat16():
    assert autocast_type("auto", CPU, DEPTHWISE) == torch.float32
    assert autocast_type("auto", torch.device("cuda"), DEPTHWISE) == torch.bfloat16
    assert autocast_type("bfloat16", CPU, DEPTHWISE) == torch.bfloat16


def test_auto_is_float32_where_it_has_not(monkeypatch):
    monkeypatch.setattr("mien.training.machine.has_bfloat16", lambda _: False)
    assert autocast_type("auto", CPU, PLAIN) == torch.float32


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((7, 0), torch.float16), ((6, 1), None)]
)
def test_auto_is_float16_where_cuda_multiplies_that_alone(monkeypatch, capability, dtype):
    monkeypatch.setattr("mien.training.machine.has_bfloat16", lambda _: False)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert autocast_type("auto", torch.device("cuda"), PLAIN) == (dtype or torch.float32)


def test_float16_on_a_cpu_is_refused():
    with pytest.raises(InputError, match="precision=float16 is for GPUs"):
        autocast_type("float16", CPU, PLAIN)


@pytest.mark.parametrize(("said", "driver"), [("570.86\n570.86\n", "570.86"), (None, None)])
def test_a_record_of_cuda_names_its_versions(monkeypatch, said, driver):
    def nvidia_smi(*_, **__):
        if said is None:
            raise FileNotFoundError("nvidia-smi")
        return SimpleNamespace(stdout=said)

    monkeypatch.setattr(machine.subprocess, "run", nvidia_smi)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.version, "cuda", "12.9")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    told = machine.describe(torch.device("cuda"), torch.float16)
    assert (told["device"], told["precision"]) == ("a GPU", "float16")
    assert told["cuda"] == {"toolkit": "12.9", "cudnn": 91002, "driver": driver}
