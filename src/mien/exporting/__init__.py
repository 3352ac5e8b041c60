"""Export a run as one ONNX file that is used without torch. Needs the 'train' extra."""

from mien.errors import extra_required

with extra_required("train", "Exporting a model"):
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import torch  # noqa: F401

from mien.exporting.export import MAX_DIFFERENCE as MAX_DIFFERENCE
from mien.exporting.export import Exported as Exported
from mien.exporting.export import Weights as Weights
from mien.exporting.export import export_run as export_run
