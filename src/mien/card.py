"""The model card: what travels inside a model file, so that no other file is needed to use it rightly.

Written as JSON, read back with every field checked. No torch here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from annotated_types import Ge, Gt, Le, MinLen

from mien.errors import InputError
from mien.expressions import Expressions
from mien.input_spec import InputSpec

#: Changes when a card of today could be misread by the program of yesterday.
FORMAT: Literal[1] = 1
#: Longest side of an input, in pixels: a guard, so that no card can ask for all the memory there is.
MAX_SIDE = 1024

_Finite = pydantic.AllowInfNan(False)
_Sha256 = Annotated[str, pydantic.StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]


@dataclass(frozen=True)
class CropRule:
    """How a face is cut out of a picture.

    margin: share of the box's longer side added on every side; below 0 it cuts into the box.
    shift_y: share of the box's longer side by which the crop moves down; below 0 it moves up.
    align: turn the crop so that the eyes are level.

    The defaults fit YuNet's boxes to FER-2013's crops: docs/results.md, "How faces are cut out".
    """

    margin: Annotated[float, Gt(-0.5), Le(4), _Finite] = -0.025
    shift_y: Annotated[float, Ge(-1), Le(1), _Finite] = 0.0
    align: bool = True

    __pydantic_config__: ClassVar = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Limits:
    """Pictures of faces that are too bad to tell by: beyond any of these limits an answer is uncertain.

    size: pixels of the picture, a side, that the face has at least.
    spread: the standard deviation, at least, of the gray levels (0..255) that the network is shown: a
        dark or flat face has a small one.
    detail, noise: the least and the most detail of what the network is shown (`mien.recognise.doubt.detail`):
        a blurred face has little, a noisy one much.
    turn: degrees by which the line of the eyes is turned at most; where the finder gives the eyes.
    detection_score: YuNet's score, 0..1, at least; scores of other finders mean other things.

    None: there is no such limit, as in files of earlier versions.
    """

    size: Annotated[float, Ge(0), _Finite] | None = None
    spread: Annotated[float, Ge(0), _Finite] | None = None
    detail: Annotated[float, Ge(0), _Finite] | None = None
    noise: Annotated[float, Ge(0), _Finite] | None = None
    turn: Annotated[float, Ge(0), Le(180), _Finite] | None = None
    detection_score: Annotated[float, Ge(0), Le(1), _Finite] | None = None

    __pydantic_config__: ClassVar = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself.

    Attributes:
        name: the recipe's.
        expressions: the names that columns of probabilities stand for, in order.
        input: what the graph is shown: uint8 (N, *input.shape); scaling is inside the graph.
        crop: how faces must be cut out of pictures.
        digest: sha256 of the graph, without card and seal.
        temperature: what logits are divided by before the softmax; inside the graph.
        offsets: what is added to the divided logits, one for each expression; inside the graph too. Empty
            for none, as in files of earlier versions.
        uncertain_below: an answer with a probability below this is uncertain.
        uncertain_beyond: limits of pictures of faces; beyond one any answer is uncertain.
        licence: of the weights.
        provenance: recipe, version, data, weights.
        scores: of this very file on validation faces; of its run on others.
        parity: how far its answers are from torch's, on how many faces.
    """

    name: Annotated[str, MinLen(1)]
    expressions: Expressions
    input: InputSpec
    crop: CropRule
    digest: _Sha256
    temperature: Annotated[float, Gt(0), _Finite] = 1.0
    offsets: tuple[Annotated[float, _Finite], ...] = ()
    uncertain_below: Annotated[float, Ge(0), Le(1)] = 0.0
    uncertain_beyond: Limits = field(default_factory=Limits)
    licence: str = "not stated"
    provenance: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    format: Literal[1] = FORMAT

    __pydantic_config__: ClassVar = pydantic.ConfigDict(extra="forbid")

    def to_json(self) -> str:
        """The same text for the same card; NaN and infinity are refused, they are not JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> ModelCard:
        """The inverse of `to_json`; InputError, naming `where`, for anything missing or malformed."""
        try:
            card = _CARD.validate_json(text)
        except pydantic.ValidationError as error:
            raise _malformed(where, _first_fault(error)) from None
        fault = card.input.fault() or _fault(card)
        if fault:
            raise _malformed(where, fault)
        try:
            card.to_json()  # scores may be of any form, but have to be JSON, which NaN is not
        except (ValueError, RecursionError):
            raise _malformed(where, "a value in it is not finite, or no JSON") from None
        return card


_CARD = pydantic.TypeAdapter(ModelCard)


def _fault(card: ModelCard) -> str | None:
    """What the types of single fields cannot say."""
    names = card.expressions
    if len(names) < 2 or len(set(names)) != len(names) or not all(name.strip() for name in names):
        return "expressions must be two or more different names"
    if max(card.input.height, card.input.width) > MAX_SIDE:
        return f"an input of more than {MAX_SIDE} pixels a side"
    return None


def _first_fault(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["loc"] == ("format",):
        return f"format {first['input']!r}, this version of mien reads {FORMAT}"
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]


def _malformed(where: str, fault: str) -> InputError:
    return InputError(
        f"{where}: its model card cannot be used ({fault}); export it again with this version of mien"
    )
