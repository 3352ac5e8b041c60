"""Store weights as float16: half the size. Computation stays in float32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert the matrices and filters of a model (see `graph.traced`) to float16; returns a copy.

    A Cast node converts each back to float32; a runtime folds it once when it opens the file. So only
    weights are rounded (to 11 significant bits), not activations. Vectors stay in float32: they are small.
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
