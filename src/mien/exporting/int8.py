"""Static quantisation: weights and activations in 8 bits, scaled by what training faces make of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from mien.recognise.model import FaceModel

#: Training faces that the ranges of activations are read from, and how many of them at a time.
FACES, _BATCH = 512, 16
#: Where the time goes. Pools between them stay in float32: in 8 bits the whole is slower.
_OPERATORS = ["Conv", "Gemm", "MatMul"]


def quantised(model: onnx.ModelProto, faces_NCHW: NDArray[np.uint8]) -> onnx.ModelProto:
    """A model of `graph.traced` with int8 weights (by output channel) and int8 activations.

    An activation's range is the mean of the smallest and of the largest value of each batch of 16
    training faces: the extremes of all of them would be those of a few odd faces. The last layer
    stays in float32: it is small, and its logits are what probabilities are made of.

    Args:
        model: its weights are float32.
        faces_NCHW: uint8 (N, *input), from Training alone.
    """
    head = next(node.name for node in model.graph.node if "logits" in node.output)
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    add_pre_process_metadata(marked)  # or it would be asked for, on standard error
    with tempfile.TemporaryDirectory(prefix="mien-int8-") as folder:
        plain, small = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        plain.write_bytes(marked.SerializeToString())
        quantize_static(
            plain,
            small,
            _CalibrationBatches(faces_NCHW),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=[head],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_providers=["CPUExecutionProvider"],
            extra_options={"CalibMovingAverage": True},
        )
        quantised_model = onnx.load(small)
    _read_before_rounding(quantised_model)
    del quantised_model.metadata_props[:]
    del quantised_model.graph.value_info[:]
    quantised_model.producer_name = model.producer_name
    quantised_model.producer_version = model.producer_version
    return quantised_model


def _read_before_rounding(model: onnx.ModelProto) -> None:
    """Let operators that stay in float32 read what a convolution is given before it is rounded to 8 bits.

    A shortcut then stays as it is. And what was rounded has the convolution as its one reader, without
    which ONNX Runtime computes that convolution in float32: `mien-s` is 2.5 times as fast for it.
    """
    maker = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in (*_OPERATORS, "QuantizeLinear", "DequantizeLinear"):
            continue
        for place, name in enumerate(node.input):
            widened = maker.get(name)
            if widened is None or widened.op_type != "DequantizeLinear":
                continue
            rounded = maker.get(widened.input[0])  # none: a constant
            # What a convolution itself gives has to be rounded, or it would not be computed in 8 bits.
            if rounded is not None and maker[rounded.input[0]].op_type not in _OPERATORS:
                node.input[place] = rounded.input[0]


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Up to `wanted` of the numbers 0 to count - 1, evenly apart."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


def faces_per_second(
    models: Mapping[str, FaceModel], faces_NCHW: NDArray[np.uint8], rounds: int = 7
) -> dict[str, float]:
    """Faces a second of processor time, each model in turn, the best of some rounds.

    On one thread that is its speed on a core of its own, whatever else the machine does; open the models
    with `threads=1`.
    """
    best = dict.fromkeys(models, float("inf"))
    for _ in range(rounds):
        for name, model in models.items():
            started = time.process_time()
            model(faces_NCHW)
            best[name] = min(best[name], time.process_time() - started)
    return {name: len(faces_NCHW) / max(seconds, 1e-9) for name, seconds in best.items()}


class _CalibrationBatches(CalibrationDataReader):  # type: ignore[misc] # the package has no types
    """Faces as the quantiser asks for them, a batch a call."""

    def __init__(self, faces_NCHW: NDArray[np.uint8]) -> None:
        starts = range(0, len(faces_NCHW), _BATCH)
        self._batches = iter([{"faces": faces_NCHW[start : start + _BATCH]} for start in starts])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)
