"""Export a run as one ONNX file that is used without torch. Needs the 'train' extra."""

from mien.errors import extra_required

with extra_required("train", "Exporting a model"):
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import torch  # noqa: F401

from mien.exporting.export import MAX_DIFFERENCE, Exported, Weights, export_run

__all__ = ["MAX_DIFFERENCE", "Exported", "Weights", "export_run"]
