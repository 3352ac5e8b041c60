"""The standing attack in little: `benchmarks/attack.py` runs it for longer and against narrower limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attack.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it needs the whole of 127.0.0.0/8")
def test_under_all_attacks_at_once_an_honest_client_is_answered(tmp_path):
    told = tmp_path / "told.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--minutes", "0.33", "--json", str(told)],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(told.read_text())
    assert seen["faults"] == []
    assert seen["honest"]["200"] > 0
    # On a busy machine a kind that takes long may still wait for its first answer.
    at_work = [kind for kind, answers in seen["attacks"].items() if sum(answers.values())]
    assert len(at_work) > 0.8 * len(seen["attacks"])
