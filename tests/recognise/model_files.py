"""Tiny model files made with onnx alone, and what they must answer, computed with numpy alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mien.card import CropRule, ModelCard
from mien.expressions import SEVEN
from mien.input_spec import InputSpec
from mien.recognise.model_file import OPSET, digest_of, sealed

SIDE, TILE = 48, 8
WEIGHTS_KD = np.random.default_rng(0).normal(size=(7, 36)).astype(np.float32)
TEMPERATURE = 1.5

CARD = ModelCard(
    name="tiny",
    expressions=SEVEN,
    input=InputSpec(),
    crop=CropRule(),
    digest="0" * 64,
    temperature=TEMPERATURE,
    uncertain_below=0.4,
)


def graph() -> onnx.ModelProto:
    """Tiles of 8x8 pixels are averaged to 36 features; a linear layer makes seven logits of them."""
    constants = {"half": 0.5, "scale": 255.0, "temperature": TEMPERATURE}
    initializers = [numpy_helper.from_array(np.float32(v), n) for n, v in constants.items()]
    initializers.append(numpy_helper.from_array(WEIGHTS_KD, "weights"))
    node = helper.make_node
    nodes = [
        node("Cast", ["faces"], ["levels"], to=TensorProto.FLOAT),
        node("Div", ["levels", "scale"], ["unit"]),
        node("Sub", ["unit", "half"], ["centred"]),
        node("Div", ["centred", "half"], ["input"]),
        node("AveragePool", ["input"], ["tiles"], kernel_shape=[TILE] * 2, strides=[TILE] * 2),
        node("Flatten", ["tiles"], ["features"]),
        node("Gemm", ["features", "weights"], ["logits"], transB=1),
        node("Div", ["logits", "temperature"], ["calibrated"]),
        node("Softmax", ["calibrated"], ["probabilities"], axis=1),
    ]
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "tiny",
        [value("faces", TensorProto.UINT8, ["N", 1, SIDE, SIDE])],
        [
            value("probabilities", TensorProto.FLOAT, ["N", 7]),
            value("logits", TensorProto.FLOAT, ["N", 7]),
            value("features", TensorProto.FLOAT, ["N", 36]),
        ],
        initializers,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def seal(model: onnx.ModelProto, **changes) -> bytes:
    """A model file of any ONNX model: its seal is right, whatever the model is."""
    content = model.SerializeToString()
    return sealed(content, replace(CARD, **{"digest": digest_of(content), **changes}))


def model_file(**changes) -> bytes:
    """The tiny model file; `changes` are those of its card."""
    return seal(graph(), **changes)


def expected(faces_NCHW):
    """(probabilities, logits, features) in float64."""
    values = (faces_NCHW[:, 0].astype(np.float64) / 255 - 0.5) / 0.5
    n, tiles = len(values), SIDE // TILE
    features_ND = values.reshape(n, tiles, TILE, tiles, TILE).mean(axis=(2, 4)).reshape(n, 36)
    logits_NK = features_ND @ WEIGHTS_KD.T.astype(np.float64)
    exponents = np.exp(logits_NK / TEMPERATURE)
    return exponents / exponents.sum(axis=1, keepdims=True), logits_NK, features_ND
