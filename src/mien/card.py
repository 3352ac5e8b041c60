"""The model card: all facts about a model that its users need, stored inside the model file.

It is written as JSON, and every field is checked when it is read. No torch here.
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

#: Version of the card's format; changes only if an older version of mien could misread new cards.
FORMAT: Literal[1] = 1
#: Longest side of an input in pixels, so that no card can make mien allocate all memory.
MAX_SIDE = 1024

_Finite = pydantic.AllowInfNan(False)
_Sha256 = Annotated[str, pydantic.StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]


@dataclass(frozen=True)
class CropRule:
    """The rule by which a face is cut out of a picture.

    margin: added on every side of the box, as a share of its longer side; below 0 it cuts into the box.
    shift_y: moves the crop down by a share of the box's longer side; below 0 it moves up.
    align: turn the crop so that the eyes are level.

    The defaults fit YuNet's boxes to FER-2013's crops: docs/results.md, "How faces are cut out".
    """

    margin: Annotated[float, Gt(-0.5), Le(4), _Finite] = -0.025
    shift_y: Annotated[float, Ge(-1), Le(1), _Finite] = 0.0
    align: bool = True

    __pydantic_config__: ClassVar = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Limits:
    """Limits of a face's picture: an answer beyond any of them is uncertain, as the picture is too bad.

    size: smallest side of the face, in pixels of the picture.
    spread: smallest standard deviation of the network input's gray levels (0..255): a dark or flat face
        has a small one.
    detail, noise: smallest and largest `mien.recognise.doubt.detail` of the network's input: a blurred face
        has little detail, a noisy one much.
    turn: largest angle in degrees between the line of the eyes and the horizontal, if the detector gives the
        eyes.
    detection_score: smallest score of YuNet, 0..1; scores of other detectors are not compared.

    None is no limit, as in files of earlier versions.
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
    """The card of a model file.

    Attributes:
        name: the model's name: the recipe's, unless the export gave another.
        expressions: the names of the columns of probabilities, in order.
        input: the graph's input: uint8 (N, *input.shape); scaling is inside the graph.
        crop: the rule for cutting faces out of pictures.
        digest: SHA-256 of the graph, without card and checksum.
        temperature: divisor of the logits before the softmax; applied inside the graph.
        offsets: added to the divided logits, one for each expression; applied inside the graph. Empty is
            none, as in files of earlier versions.
        uncertain_below: an answer with a probability below this, 0..1, is uncertain.
        uncertain_beyond: limits of a face's picture, beyond which any answer is uncertain.
        licence: licence of the weights.
        provenance: recipe, version of mien, data and weights.
        scores: scores of this file on validation faces, and of its run on others.
        parity: largest difference of its answers from torch's, and the number of faces compared.
        format: version of the card's format.

    >>> card = ModelCard("mine", ("happy", "sad"), InputSpec(), CropRule(), digest="0" * 64)
    >>> ModelCard.from_json(card.to_json(), "a card") == card
    True
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

    @property
    def trained_on(self) -> str | None:
        """The fingerprint of the training's data, if it is known."""
        data = self.provenance.get("data")
        return data.get("fingerprint") if isinstance(data, dict) else None

    def to_json(self) -> str:
        """Serialise the card: equal cards give the same text.

        Raises:
            ValueError: a value is NaN or infinite, which JSON does not have.
        """
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> ModelCard:
        """Parse and check a card.

        Args:
            text: the output of `to_json`.
            where: the name of its file, for messages.

        Raises:
            InputError: a field is missing, unknown or out of range, or the text is not JSON.
        """
        try:
            card = _CARD.validate_json(text)
        except pydantic.ValidationError as error:
            raise _malformed(where, _first_fault(error)) from None
        fault = card.input.fault() or _fault(card)
        if fault:
            raise _malformed(where, fault)
        try:
            card.to_json()  # scores may have any structure, but not NaN or infinity
        except (ValueError, RecursionError):
            raise _malformed(where, "a value in it is not finite or not JSON") from None
        return card


_CARD = pydantic.TypeAdapter(ModelCard)


def _fault(card: ModelCard) -> str | None:
    """Check constraints beyond the types of single fields; returns the fault, or None."""
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
