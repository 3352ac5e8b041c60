"""Weights kept in 16 bits: half the size. What is computed is computed in float32 as ever."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of `graph.traced` with its matrices and filters in float16.

    Each is brought back to float32 before it is used, which a runtime does once, as it opens the file.
    So only the weights are rounded, to 11 significant bits; vectors, which are small, stay as they are.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    for weights in small.graph.initializer:
        if weights.data_type != TensorProto.FLOAT or len(weights.dims) < 2:
            continue
        name, rounded = weights.name, numpy_helper.to_array(weights).astype(np.float16)
        weights.CopyFrom(numpy_helper.from_array(rounded, f"{name}.float16"))
        cast = helper.make_node("Cast", [weights.name], [name], to=TensorProto.FLOAT)
        small.graph.node.insert(0, cast)
    return small
