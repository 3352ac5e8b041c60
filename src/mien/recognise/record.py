"""A face as a record: its fields, their order and types. JSON, tables, REST and live cameras derive from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from mien.recognise.track import FaceLike

Cell: TypeAlias = str | int | float | bool | None

#: The fields and their types, by Arrow's names. Faces of photos have no track, followed ones no angle.
FIELDS = {
    "track_id": "int64",
    "box": "double",
    "angle": "double",
    "detection_score": "double",
    "expression": "string",
    "probability": "double",
    "uncertain": "bool",
    "why_uncertain": "string",
    "probabilities": "double",
    "raw": "double",
}
#: The box, in pixels: four fields of its own in JSON, four columns of a table.
SIDES = ("x", "y", "width", "height")
#: Each of these is a column an expression; whoever makes a table says how they are called.
_BY_EXPRESSION = ("probabilities", "raw")


def as_dict(face: FaceLike) -> dict[str, Any]:
    """The fields that a face has, as plain values, fit for JSON."""
    told = {name: getattr(face, name) for name in FIELDS if hasattr(face, name)}
    return told | {
        "box": dict(zip(SIDES, face.box, strict=True)),
        "probabilities": dict(face.probabilities),
    }


def as_cells(face: FaceLike) -> dict[str, Cell]:
    """The same as cells of a table, without those of its expressions."""
    told = as_dict(face)
    return _flat(told, told["box"])


def columns(*, without: str) -> dict[str, str]:
    """The names and types of all cells that a face may have but for one, in order."""
    kinds = _flat(FIELDS, dict.fromkeys(SIDES, FIELDS["box"]))
    del kinds[without]
    return kinds


def _flat(told: Mapping[str, Any], box: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in told.items():
        if name == "box":
            flat |= box
        elif name not in _BY_EXPRESSION:
            flat[name] = value
    return flat
