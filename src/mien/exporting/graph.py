"""Convert a trained network to an ONNX model from uint8 faces to probabilities, logits and features."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mien.errors import MienError
from mien.input_spec import InputSpec
from mien.models import Classifier
from mien.models.preparing import prepare
from mien.models.weights import head_names
from mien.recognise.model_file import OPSET
from mien.version import __version__

#: Names of the graph's constants for temperature and offsets.
_TEMPERATURE, _OFFSETS = "temperature", "offsets"


def traced(classifier: Classifier) -> onnx.ModelProto:
    """Trace a classifier, including the preparation of faces, as an ONNX model.

    Its input is `faces`, uint8 (N, *spec.shape); its outputs are `logits`, float32 (N, K), and `features`,
    float32 (N, D), the input of the last layer. N is dynamic. Names of source files and lines, which the
    exporter adds to every operator, are removed, so that the same weights always give the same bytes.

    Raises:
        MienError: torch cannot export the network.
    """
    graph = _WithFeatures(classifier.network.eval(), classifier.spec)
    # Two faces: torch.export would take a batch of one as a constant, and N would not be dynamic.
    faces = torch.zeros(2, *classifier.spec.shape, dtype=torch.uint8)
    try:
        with torch.no_grad(), _silence():
            program = torch.onnx.export(
                graph,
                (faces,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["faces"],
                output_names=["logits", "features"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise MienError(
            f"torch {torch.__version__} cannot write {type(classifier.network).__name__} as ONNX ({reason})"
        ) from error
    assert program is not None  # noqa: S101 (with dynamo=True there is one)
    model: onnx.ModelProto = program.model_proto
    _forget_sources(model)
    model.producer_name, model.producer_version = "mien", __version__
    return model


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of `traced` with its matrices and filters in float16.

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


def with_probabilities(
    model: onnx.ModelProto, temperature: float, offsets: Sequence[float] = ()
) -> bytes:
    """Add an output `probabilities` = softmax(logits / temperature + offsets), float32 (N, K), and serialise.

    Args:
        model: a model of `traced`; it is not changed.
        temperature: above 0.
        offsets: K numbers, or none.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    graph = whole.graph
    graph.initializer.append(helper.make_tensor(_TEMPERATURE, TensorProto.FLOAT, [], [temperature]))
    calibrated = "calibrated"
    graph.node.append(helper.make_node("Div", ["logits", _TEMPERATURE], [calibrated]))
    if offsets:
        constant = helper.make_tensor(_OFFSETS, TensorProto.FLOAT, [len(offsets)], offsets)
        graph.initializer.append(constant)
        graph.node.append(helper.make_node("Add", [calibrated, _OFFSETS], ["moved"]))
        calibrated = "moved"
    graph.node.append(helper.make_node("Softmax", [calibrated], ["probabilities"], axis=1))
    logits, features = graph.output
    probabilities = onnx.ValueInfoProto()
    probabilities.CopyFrom(logits)
    probabilities.name = "probabilities"
    outputs = [probabilities, logits, features]
    # Copied before the old list is emptied, because protobuf's messages belong to their list.
    copies = [o.SerializeToString(deterministic=True) for o in outputs]
    del graph.output[:]
    graph.output.extend(map(onnx.ValueInfoProto.FromString, copies))
    content: bytes = whole.SerializeToString(deterministic=True)
    return content


class _WithFeatures(nn.Module):
    """A network that also returns the input of its last layer, the features."""

    def __init__(self, network: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        heads = head_names(network)
        name = next(name for name in network.state_dict() if name in heads)
        self._head = name.rpartition(".")[0]

    def forward(self, faces_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        given: list[Tensor] = []

        def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            given.append(inputs[0])

        hook = self.network.get_submodule(self._head).register_forward_pre_hook(note)
        try:
            logits_NK = self.network(prepare(faces_NCHW, self.spec))
        finally:
            hook.remove()
        return logits_NK.float(), given[0].flatten(1).float()


def _forget_sources(model: onnx.ModelProto) -> None:
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    del graph.value_info[:]
    graph.name, graph.doc_string, model.doc_string = "mien", "", ""
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _silence() -> Iterator[None]:
    """Hide the exporter's logs and warnings from the user; errors are still raised."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
