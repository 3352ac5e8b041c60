"""What choosing a device does to torch's settings: CUDA's can be set, and read, on any machine."""

import subprocess
import sys

import pytest

#: In a process of its own: the settings are the process's.
CHOSEN = """
import torch
from mien.models import device

truly = torch.cuda.is_available, torch.cuda.device_count
torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 1
assert device.pick_device("cuda").type == "cuda"
torch.cuda.is_available, torch.cuda.device_count = truly
"""


def run(code):
    return subprocess.run([sys.executable, "-c", CHOSEN + code], capture_output=True, text=True)


@pytest.mark.slow
def test_float32_means_float32_and_every_setting_can_still_be_read():
    ended = run(
        """
assert torch.backends.cudnn.conv.fp32_precision == "ieee"
assert torch.backends.cuda.matmul.fp32_precision == "ieee"
assert not torch.backends.cudnn.allow_tf32
assert not torch.backends.cuda.matmul.allow_tf32
assert torch.get_float32_matmul_precision() == "highest"
"""
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_a_network_is_exported_after_cuda_was_chosen():
    ended = run(
        """
from mien.exporting.graph import traced
from mien.input_spec import InputSpec
from mien.models import Classifier, create

network = create("mien-s", InputSpec(), 7, {"width": 0.25, "depth": 1})
traced(Classifier(network.eval(), InputSpec(), tuple("abcdefg")))
"""
    )
    assert ended.returncode == 0, ended.stderr
