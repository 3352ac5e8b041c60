"""mien: facial expression recognition that a person can train, trust and take anywhere.

The verbs are loaded when they are first used, so that `import mien` is quick and needs no torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Official builds of ONNX Runtime report to their makers from 1.29 on, unless this is set before they are
# imported (https://github.com/microsoft/onnxruntime/pull/27379). Nothing leaves the machine from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mien.api import evaluate, export, load, teach, train, train_seeds
    from mien.cropping import crop_faces
    from mien.errors import InputError, MienError
    from mien.recognise.detect import Detection
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.stream import follow
    from mien.recognise.video import VideoReader
    from mien.studies.diagnose import diagnose
    from mien.studies.reproduce import reproduce

_HOME = {
    "Detection": "mien.recognise.detect",
    "Recognizer": "mien.recognise.recognizer",
    "VideoReader": "mien.recognise.video",
    "crop_faces": "mien.cropping",
    "diagnose": "mien.studies.diagnose",
    "evaluate": "mien.api",
    "export": "mien.api",
    "follow": "mien.recognise.stream",
    "load": "mien.api",
    "reproduce": "mien.studies.reproduce",
    "teach": "mien.api",
    "train": "mien.api",
    "train_seeds": "mien.api",
    "InputError": "mien.errors",
    "MienError": "mien.errors",
}

__all__ = [
    "Detection",
    "InputError",
    "MienError",
    "Recognizer",
    "VideoReader",
    "__version__",
    "crop_faces",
    "diagnose",
    "evaluate",
    "export",
    "follow",
    "load",
    "reproduce",
    "teach",
    "train",
    "train_seeds",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
