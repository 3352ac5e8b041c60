"""A measurement in a process of its own is that process' alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CHILD = "from parts import peak_megabytes; print(peak_megabytes())"
PARENT = f"import subprocess, sys; held = b'1' * 300_000_000; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.skipif(os.name == "nt", reason="Windows tells no peak")
def test_a_peak_of_memory_is_not_that_of_whoever_started_the_process():
    done = subprocess.run(
        [sys.executable, "-c", PARENT],
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 100
