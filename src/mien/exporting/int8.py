"""Static quantisation: weights and activations in 8 bits, with ranges measured on training faces."""

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

#: Number of training faces for measuring the ranges of activations, and the size of their batches.
FACES, _BATCH = 512, 16
#: The quantised operators, which take most of the time. Pooling stays in float32, because that is faster.
_OPERATORS = ["Conv", "Gemm", "MatMul"]


def quantised(model: onnx.ModelProto, faces_NCHW: NDArray[np.uint8]) -> onnx.ModelProto:
    """Quantise a model (see `graph.traced`) to int8 weights, per output channel, and int8 activations.

    The range of an activation is averaged: it is the mean of the minima and the mean of the maxima of
    batches of 16 training faces, because overall extremes would come from a few unusual faces. The last
    layer stays in float32: it is small, and rounding its logits would change the probabilities directly.

    Args:
        model: a model with float32 weights; it is not changed.
        faces_NCHW: uint8 (N, *input shape), training faces only.
    """
    head = next(node.name for node in model.graph.node if "logits" in node.output)
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    add_pre_process_metadata(marked)  # otherwise the quantiser prints a warning on standard error
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
            # Mean of the batches' ranges, not the extremes.
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
    """Connect float32 operators to the values before rounding, not to their 8-bit copies.

    Shortcuts then lose no precision. And each 8-bit value is read only by its convolution, as ONNX Runtime
    requires to compute that convolution in 8 bits: `mien-s` becomes 2.5 times as fast.
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
            # The output of a convolution stays rounded: otherwise it would not be computed in 8 bits.
            if rounded is not None and maker[rounded.input[0]].op_type not in _OPERATORS:
                node.input[place] = rounded.input[0]


def faces_per_second(
    models: Mapping[str, FaceModel], faces_NCHW: NDArray[np.uint8], rounds: int = 7
) -> dict[str, float]:
    """Measure the speed of models in faces a second of processor time, the best of several rounds.

    Models take turns in each round. Open them with `threads=1`: processor time on one thread does not
    depend on other work of the machine.

    Args:
        models: name -> model.
        faces_NCHW: uint8 (N, *input shape), one batch.
        rounds: number of measurements of each model.

    Returns:
        Name -> faces a second.
    """
    best = dict.fromkeys(models, float("inf"))
    for _ in range(rounds):
        for name, model in models.items():
            started = time.process_time()
            model(faces_NCHW)
            best[name] = min(best[name], time.process_time() - started)
    return {name: len(faces_NCHW) / max(seconds, 1e-9) for name, seconds in best.items()}


class _CalibrationBatches(CalibrationDataReader):  # type: ignore[misc] # the package has no types
    """Gives the quantiser one batch of faces for each call of `get_next`; None after the last."""

    def __init__(self, faces_NCHW: NDArray[np.uint8]) -> None:
        starts = range(0, len(faces_NCHW), _BATCH)
        self._batches = iter([{"faces": faces_NCHW[start : start + _BATCH]} for start in starts])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)
