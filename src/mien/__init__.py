"""mien: facial expression recognition that a person can train, trust and take anywhere.

    mien.predict("photo.jpg")                  faces and their expressions, offline, no torch; folders,
                                               videos, streams, cameras and arrays, too
    mien.load("fer2013.csv")                   faces for training, from files of many layouts
    mien.train("mien-s", "fer2013.csv")        a run folder: weights, curves, recipe and environment
    mien.teach([run], "mien-s", "fer2013.csv", out="soft")
                                               its answers, for a smaller network to learn from
    mien.evaluate(run)                         scores with intervals, and report.html
    mien.export(run, "model.onnx")             one calibrated file, for mien.predict(..., model="model.onnx")

Training, evaluating and exporting need `pip install 'mien[train]'` (in a clone `'.[train]'`). Each part is imported
at its first use, so that `import mien` is fast. The command line is `mien --help`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Official builds of ONNX Runtime from 1.29 on send telemetry to Microsoft, unless this is set before the import
# (https://github.com/microsoft/onnxruntime/pull/27379). mien sends nothing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from mien.version import __version__

if TYPE_CHECKING:
    from mien.api import evaluate as evaluate
    from mien.api import export as export
    from mien.api import load as load
    from mien.api import plan as plan
    from mien.api import teach as teach
    from mien.api import train as train
    from mien.api import train_seeds as train_seeds
    from mien.cropping import crop_faces as crop_faces
    from mien.errors import InputError as InputError
    from mien.errors import MienError as MienError
    from mien.recognise.detect import Detection as Detection
    from mien.recognise.predict import predict as predict
    from mien.recognise.recognizer import Recognizer as Recognizer
    from mien.recognise.showing import draw as draw
    from mien.recognise.stream import follow as follow
    from mien.recognise.video import VideoReader as VideoReader
    from mien.recognise.yunet import YuNet as YuNet
    from mien.studies.diagnose import diagnose as diagnose
    from mien.studies.reproduce import reproduce as reproduce

_HOME = {
    "Detection": "mien.recognise.detect",
    "Recognizer": "mien.recognise.recognizer",
    "VideoReader": "mien.recognise.video",
    "YuNet": "mien.recognise.yunet",
    "crop_faces": "mien.cropping",
    "diagnose": "mien.studies.diagnose",
    "evaluate": "mien.api",
    "export": "mien.api",
    "draw": "mien.recognise.showing",
    "follow": "mien.recognise.stream",
    "load": "mien.api",
    "plan": "mien.api",
    "predict": "mien.recognise.predict",
    "reproduce": "mien.studies.reproduce",
    "teach": "mien.api",
    "train": "mien.api",
    "train_seeds": "mien.api",
    "InputError": "mien.errors",
    "MienError": "mien.errors",
}

#: Names whose modules import torch: without torch, `dir` and `help` leave them out.
_NEED_TORCH = {"diagnose", "reproduce"}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """All public names, also those not imported yet: for `dir`, tab completion and `help`, which imports them all."""
    from importlib.util import find_spec

    own = (name for name in globals() if name.startswith("__"))
    try:
        trains = find_spec("torch") is not None
    except ModuleNotFoundError:  # an import hook may forbid torch, as some tests do
        trains = False
    return sorted({*own, *__all__} - (set() if trains else _NEED_TORCH))
