"""mien: facial expression recognition that a person can train, trust and take anywhere.

The verbs are loaded when they are first used, so that `import mien` is quick and needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mien.api import evaluate, load, train, train_seeds
    from mien.errors import InputError, MienError
    from mien.recognise.faces import Detection
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.stream import follow
    from mien.recognise.video import VideoReader

_HOME = {
    "Detection": "mien.recognise.faces",
    "Recognizer": "mien.recognise.recognizer",
    "VideoReader": "mien.recognise.video",
    "evaluate": "mien.api",
    "follow": "mien.recognise.stream",
    "load": "mien.api",
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
    "evaluate",
    "follow",
    "load",
    "train",
    "train_seeds",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
