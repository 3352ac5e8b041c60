"""Whatever ONNX Runtime would read of a model file must be what was checked: its own parser as the second opinion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from model_files import CARD, graph, model_file, seal
from onnx import TensorProto, helper

from mien.card import ModelCard
from mien.errors import InputError, MienError
from mien.recognise.model import FaceModel
from mien.recognise.model_file import OPERATORS, checked_card, digest_of, sealed


def varint(number: int, longer: int = 0) -> bytes:
    """A number as protobuf writes it, or in more bytes than it needs."""
    groups = []
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    for _ in range(longer):
        groups[-1] |= 0x80
        groups.append(0)
    return bytes(groups)


def piece(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def in_the_last_weights(extra: bytes) -> bytes:
    """The tiny graph, with bytes of one's own at the end of its last weights."""
    model = graph()
    tensor = model.graph.initializer[-1].SerializeToString() + extra
    del model.graph.initializer[-1]
    inner = model.graph.SerializeToString() + piece(b"\x2a", tensor)
    model.ClearField("graph")
    return model.SerializeToString() + piece(b"\x3a", inner)


def in_a_node(extra: bytes) -> bytes:
    """The same, at the end of one more node."""
    model = graph()
    node = helper.make_node("Identity", ["logits"], ["unused"]).SerializeToString() + extra
    inner = model.graph.SerializeToString() + piece(b"\x0a", node)
    model.ClearField("graph")
    return model.SerializeToString() + piece(b"\x3a", inner)


def resealed(content: bytes) -> bytes:
    return sealed(content, replace(CARD, digest=digest_of(content)))


def is_harmless(content: bytes) -> bool:
    """What onnx's parser reads holds nothing but networks of tensors; what it cannot read is refused."""
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError:
        with pytest.raises(InputError):
            FaceModel.open(content)
        return True
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        if node.op_type.encode() not in OPERATORS or node.domain not in ("", "ai.onnx"):
            return False
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                return False
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                return False
            tensors += [attribute.t, *attribute.tensors]
    inside = all(not t.external_data and t.data_location == TensorProto.DEFAULT for t in tensors)
    return inside and not (model.functions or model.training_info or model.graph.sparse_initializer)


FIELDS = st.integers(1, 40)
EXTRAS = st.builds(
    lambda number, wire, high, longer, content: (
        varint((number << 3 | wire) | high << 32, longer)
        + (varint(len(content)) + content if wire == 2 else varint(len(content)))
    ),
    FIELDS,
    st.sampled_from([0, 2]),
    st.integers(0, 7),
    st.integers(0, 3),
    st.binary(max_size=20),
)
EXTERNAL = piece(b"\x0a", b"location") + piece(b"\x12", b"secret.bin")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([in_the_last_weights, in_a_node]), st.lists(EXTRAS, max_size=3).map(b"".join)
)
@example(in_the_last_weights, piece(varint((13 << 3 | 2) | 1 << 32), EXTERNAL))
@example(in_the_last_weights, piece(varint(13 << 3 | 2, 2), EXTERNAL))
@example(in_the_last_weights, varint((14 << 3) | 1 << 32) + b"\x01")
@example(in_a_node, piece(varint((5 << 3 | 2) | 1 << 33), piece(varint(6 << 3 | 2), b"")))
@example(in_a_node, piece(b"\x2a", piece(varint((6 << 3 | 2) | 1 << 32), b"")))
@example(in_a_node, b"\x22\x04Loop")
@example(in_a_node, b"\x08\x00\x08\x00J\x01\x00")
def test_nothing_passes_that_onnx_reads_as_something_else(place, extra):
    content = resealed(place(extra))
    try:
        checked_card(content, "a file")
    except InputError:
        return
    assert is_harmless(content)


def test_the_tags_that_once_passed_are_refused():
    for extra in (
        piece(varint((13 << 3 | 2) | 1 << 32), EXTERNAL),
        piece(varint(13 << 3 | 2, 2), EXTERNAL),
        piece(varint(12 << 3 | 2, 1), b"a tag that is longer than need be"),
        varint(99 << 3) + b"\x01",
    ):
        with pytest.raises(InputError, match="not a model file of mien"):
            checked_card(resealed(in_the_last_weights(extra)), "a file")
    assert checked_card(resealed(in_the_last_weights(b"")), "a file").name == CARD.name


def test_an_answer_that_is_no_number_is_refused():
    model = graph()
    weights = np.full((7, 36), np.nan, np.float32)
    model.graph.initializer[-1].raw_data = weights.tobytes()
    opened = FaceModel.open(seal(model), threads=1)
    with pytest.raises(MienError, match="not finite numbers"):
        opened(np.zeros((1, 1, 48, 48), np.uint8))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_card_with_what_is_no_number_is_refused(number):
    text = CARD.to_json().replace('"scores": {}', f'"scores": {{"accuracy": {number}}}')
    assert number in text
    with pytest.raises(InputError, match="its model card cannot be used"):
        ModelCard.from_json(text, "a file")


def test_a_card_nested_without_end_is_refused():
    text = CARD.to_json().replace(
        '"scores": {}', '"scores": {"a": ' + "[" * 5000 + "]" * 5000 + "}"
    )
    with pytest.raises(InputError, match="its model card cannot be used"):
        ModelCard.from_json(text, "a file")


def test_a_model_file_is_still_one():
    assert checked_card(model_file(), "a file").name == CARD.name
