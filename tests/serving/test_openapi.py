"""schemathesis against the service that it describes: no failure, and every answer as it is described.

MIEN_EXAMPLES=1500 pytest -m slow tests/serving/test_openapi.py -s     # some 20,000 cases
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from talk import picture, post

#: For each operation and way to make them up; by hand more.
EXAMPLES = os.environ.get("MIEN_EXAMPLES", "25")


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "a-key-of-some-length"])
def test_every_answer_is_as_described(serve, tmp_path, key):
    # Room for all videos that are made up: a full service answers 503, and that is told as a failure.
    service = serve(max_jobs=10**6, keep_s=0.5, api_keys=(key,) if key else ())
    arguments = ["--max-examples", EXAMPLES, "--no-color", "--continue-on-failure"]
    # Not every string of bytes is a picture, which no schema can say.
    arguments += ["--exclude-checks", "positive_data_acceptance"]
    if key:
        arguments += ["-H", f"Authorization: Bearer {key}"]
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{service.url}/openapi.json",
            *arguments,
        ],
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    (generated,) = re.findall(r"([\d,]+) generated", said)
    print(generated, "cases")  # noqa: T201
    assert int(generated.replace(",", "")) > 12 * int(EXAMPLES)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    service.client.headers.update(headers)
    assert post(service.client, picture()).status_code == 200
