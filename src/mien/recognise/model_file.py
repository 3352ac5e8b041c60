"""The model file: one ONNX file that contains its card and a checksum, checked before it is run.

    ONNX model as exported | metadata "mien.card": JSON | metadata "mien.sha256": of all bytes before it

Protobuf messages may be concatenated, so the two metadata entries are appended, and any ONNX tool reads
the whole. The checksum detects damage, not malice: an attacker can compute it again. So the file is also
refused unless it has only the fields and operators of ONNX that mien writes, no data in other files, and
no encodings that parsers may read differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mien.card import ModelCard
from mien.errors import InputError, reading_from

#: The version of ONNX's operator set that mien writes, the only one it reads.
OPSET = 18
#: Largest file that is read, in bytes.
MAX_BYTES = 1_000_000_000
#: Largest card, in bytes.
_MAX_CARD = 1_000_000

_CARD, _SEAL = b"mien.card", b"mien.sha256"

# Numbers of fields in ONNX's messages (onnx.proto3): the fields that mien writes; and others that a message can name.
_GRAPH, _OPSET_IMPORT, _METADATA = 7, 8, 14
_ALLOWED = {
    "model": {1, 2, 3, 4, 5, 6, _GRAPH, _OPSET_IMPORT, _METADATA},
    "graph": {1, 2, 5, 10, 11, 12, 13, 14, 16},
    "node": {1, 2, 3, 4, 5, 6, 7, 9},
    "attribute": {1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 20},
    "tensor": {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16},
}
_REFUSED = {
    "model": {20: "training", 25: "functions", 26: "device settings"},
    "graph": {15: "sparse weights"},
    "node": {10: "device settings"},
    "attribute": {6: "a graph within the graph", 11: "a graph within the graph",
                  22: "sparse weights", 23: "sparse weights"},
    "tensor": {13: "weights in another file", 14: "weights in another file"},
}  # fmt: skip
#: Allowed operators: those of networks. None of them has a subgraph, draws random numbers or holds anything but
#: tensors.
OPERATORS = frozenset(
    b"""
    Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization BitShift Cast CastLike Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid
    HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul
    Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()
)
#: message -> field -> the kind of message in that field, which is checked as well.
_INSIDE = {
    "model": {_GRAPH: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor"},
    "tensor": {},
}
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
#: Both names mean ONNX's own operators.
_KNOWN_DOMAINS = (b"", b"ai.onnx")


def sealed(graph: bytes, card: ModelCard) -> bytes:
    """Build a model file from an ONNX model and its card.

    Args:
        graph: the serialised ONNX model, without metadata.
        card: its card; `card.digest` has to be `digest_of(graph)`.
    """
    content = graph + _entry(_CARD, card.to_json().encode())
    return content + _entry(_SEAL, digest_of(content).encode())


def digest_of(content: bytes) -> str:
    """The SHA-256 of some bytes, in lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_model_file(path: Path) -> bytes:
    """Read a model file's bytes, without checking them.

    Raises:
        InputError: it is missing, a folder, too large or cannot be read.
    """
    with reading_from(str(path)):
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no such model file"
            raise InputError(f"{path}: {what}; give a file that `mien export` wrote")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"{path}: {size / 1e9:,.1f} GB, too large for a model file of mien "
                f"(at most {MAX_BYTES / 1e9:,.0f} GB)"
            )
        return path.read_bytes()


def checked_card(content: bytes, where: str) -> ModelCard:
    """Check a model file, and return its card.

    Args:
        content: the file's bytes.
        where: the file's name in messages.

    Raises:
        InputError: it is not a model file of mien, damaged, of another version, or has parts that mien
            never writes.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{where}: too large for a model file of mien")
    try:
        return _checked_card(memoryview(content), where)
    except _MalformedError as error:
        raise InputError(
            f"{where}: not a model file of mien, or a damaged one ({error}); "
            "make one with `mien export`, or fetch it again"
        ) from None


def _checked_card(content: memoryview, where: str) -> ModelCard:
    fields = list(_fields(content))
    tail = [f for f in fields if f.number == _METADATA]
    entries = [(_value(f.value, 1), _value(f.value, 2)) for f in tail]
    if [key for key, _ in entries] != [_CARD, _SEAL] or fields[-2:] != tail:
        raise _MalformedError("it has no card")
    text = entries[0][1]
    digest = hashlib.sha256(content[: tail[0].start])
    graph_digest = digest.hexdigest()
    digest.update(content[tail[0].start : tail[1].start])
    # Compare the encoded entry, not its value: so no byte of the file can differ from the file that mien wrote.
    if content[tail[1].start :] != _entry(_SEAL, digest.hexdigest().encode()):
        raise _MalformedError("it was changed after it was exported")
    if len(text) > _MAX_CARD:
        raise _MalformedError("its card is too long")
    card = ModelCard.from_json(text, where)
    if card.digest != graph_digest:
        raise _MalformedError("its card belongs to another graph")
    _check_parts(content, "model", where)
    _check_opsets([f.value for f in fields if f.number == _OPSET_IMPORT], where)
    return card


def _check_parts(message: memoryview, kind: str, where: str) -> None:
    """Refuse fields and operators that mien does not write. Recursion is at most five messages deep."""
    for part in _fields(message):
        if part.number in _REFUSED[kind]:
            raise InputError(
                f"{where}: holds {_REFUSED[kind][part.number]}, which a model file of mien never does; "
                "make one with `mien export`"
            )
        if part.number not in _ALLOWED[kind]:
            raise _MalformedError(
                f"a {kind} in it has a field {part.number}, which is not known here"
            )
        if kind == "node" and part.number == _NODE_OPERATOR and bytes(part.value) not in OPERATORS:
            raise InputError(
                f"{where}: uses the operator {bytes(part.value[:40])!r}, which a model file of mien never does; "
                "make one with `mien export`"
            )
        if (
            kind == "node"
            and part.number == _NODE_DOMAIN
            and bytes(part.value) not in _KNOWN_DOMAINS
        ):
            raise _unknown_operators(where, part.value)
        if part.number in _INSIDE[kind]:
            _check_parts(part.value, _INSIDE[kind][part.number], where)


def _check_opsets(imports: list[memoryview], where: str) -> None:
    if not imports:
        raise _MalformedError("it names no operators")
    for message in imports:
        domain = _value(message, 1)
        if domain not in _KNOWN_DOMAINS:
            raise _unknown_operators(where, domain)
        version = next((f.varint for f in _fields(message) if f.number == 2), 0)
        if version != OPSET:
            raise InputError(
                f"{where}: uses version {version} of ONNX's operators, this version of mien knows "
                f"{OPSET}; export it again with this version of mien"
            )


def _unknown_operators(where: str, domain: bytes | memoryview) -> InputError:
    return InputError(
        f"{where}: uses operators of {bytes(domain[:40])!r}, which mien does not know; "
        "make a model file with `mien export`"
    )


class _MalformedError(Exception):
    """The bytes are not a protobuf message, or not the expected one."""


class _Field(NamedTuple):
    """One field of a protobuf message: `start` is the offset of its tag, `varint` its value if it is a number."""

    number: int
    start: int
    value: memoryview
    varint: int


def _fields(message: memoryview) -> Iterator[_Field]:
    """Iterate over the fields of a protobuf message, in order. Fixed-size numbers are not decoded."""
    end = len(message)
    at = 0
    while at < end:
        start = at
        tag, at = _varint(message, at)
        if tag >= 1 << 32:  # other parsers drop the upper bits, and would read another field
            raise _MalformedError("not an ONNX file")
        number, wire = tag >> 3, tag & 7
        count, size = 0, 0
        if wire == 0:
            count, at = _varint(message, at)
        elif wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _MalformedError("not an ONNX file")
        if number == 0 or at + size > end:
            raise _MalformedError("cut short" if number else "not an ONNX file")
        yield _Field(number, start, message[at : at + size], count)
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Decode a varint (up to 64 bits in groups of seven, the lowest first): its value and the offset after it.

    Longer encodings than necessary and larger numbers are refused, as parsers decode them differently.
    """
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            raise _MalformedError("cut short")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or number >> 64:
                break
            return number, at
    raise _MalformedError("not an ONNX file")


def _value(message: memoryview, number: int) -> bytes:
    """The bytes of a field, empty if it is missing; if it is repeated, the last one counts."""
    values = [f.value for f in _fields(message) if f.number == number]
    return bytes(values[-1]) if values else b""


def _entry(key: bytes, value: bytes) -> bytes:
    """Encode `metadata_props { key, value }` as protobuf does."""

    def piece(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2]) + _as_varint(len(content)) + content

    return piece(_METADATA, piece(1, key) + piece(2, value))


def _as_varint(number: int) -> bytes:
    groups = []
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
