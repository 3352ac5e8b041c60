"""Training, evaluation, teaching and going on, on a CUDA device that is not there: see shadow.py.

Export is not among them: it computes on the CPU, and torch's exporter asks the driver for more than this one has.

Apple's `mps` cannot be played in the same way: torch refuses parameters on a device that it is not linked with.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each scene: {"result": ...} or {"error": ...}."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or torch.version.cuda is None or compiler is None:
        pytest.skip("needs Linux, a C compiler and a CUDA build of torch")
    folder = tmp_path_factory.mktemp("shadow")
    library = folder / "libcuda.so.1"
    subprocess.run(
        [
            compiler,
            "-shared",
            "-fPIC",
            "-w",
            "-Wl,-soname,libcuda.so.1",
            "-o",
            library,
            HERE / "runtime.c",
        ],
        check=True,
    )
    done = subprocess.run(
        [sys.executable, HERE / "scenes.py", folder / "runs"],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "scene",
    [
        "train_with_muon",
        "train_with_sgd_cutmix_clipping_and_balance",
        "train_with_adam_and_plateau_in_float32",
        "train_in_colour",
        "train_in_float16",
        "train_on_faces_that_do_not_fit",
        "fine_tune_a_share_of_the_way",
        "fine_tune_frozen_and_more_slowly",
        "evaluate_with_ten_views",
        "evaluate_corrupted",
        "teach_and_learn",
        "resume_on_the_device",
        "resume_on_the_cpu",
        "resume_from_the_cpu",
    ],
)
def test_nothing_meets_what_is_elsewhere(outcomes, scene):
    assert "error" not in outcomes[scene]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("fault_of_device", "RuntimeError: Expected all tensors to be on the same device"),
        ("fault_of_index", "RuntimeError: indices should be"),
        ("fault_of_generator", "RuntimeError: Expected a 'cuda' device type for generator"),
        ("fault_of_numpy", "RuntimeError: .numpy() is not supported"),
    ],
)
def test_a_deliberate_fault_is_found(outcomes, fault, message):
    assert outcomes[fault].get("error", "").startswith(message)


def test_a_step_waits_for_nothing_and_asks_for_no_more_operators(outcomes):
    found = outcomes["steps"]["result"]
    assert (
        found["operators"] <= 500
    )  # of mien-s; 679 while Muon took matrices of one shape together
    each_step = {line: n for line, n in found["waits"].items() if n >= found["steps"]}
    assert not each_step
