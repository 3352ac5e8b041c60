"""Make src/mien/evaluation/four_block_corruptions.json: what a four-block-cnn scores on corrupted faces.

    python tools/corruption_reference.py RUN_OR_MODEL_FILE PATH_OF_FER_2013

Others are measured by these figures (`mien evaluate RUN --corruptions`). To be made again whenever a corruption
changes. The first figures are of the model file that mien bundled until 2026-11-21 (commit d0dc515).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

from mien import api
from mien.evaluation.robustness import REFERENCE, REFERENCE_FILE
from mien.files import write_json

if __name__ == "__main__":
    package = Path(str(resources.files("mien")))
    found = api.evaluate_corrupted(Path(sys.argv[1]), sys.argv[2])
    named = replace(found, name=REFERENCE, source="FER-2013")
    write_json(package / "evaluation" / REFERENCE_FILE, named.to_dict())
