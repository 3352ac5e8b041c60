"""The fields of a face in results, their order and types: shared by JSON, tables, REST and live cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mien.errors import InputError

if TYPE_CHECKING:
    from mien.recognise.track import FaceLike

Cell: TypeAlias = str | int | float | bool | None

#: The fields and their Arrow types. Faces of photos have no track, tracked ones no angle.
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
#: The box in pixels: an object of four fields in JSON, four columns in a table.
SIDES = ("x", "y", "width", "height")
#: Each of these is one column for each expression in a table, which names them itself (see `rows.columns`).
_BY_EXPRESSION = ("probabilities", "raw")


def as_dict(face: FaceLike) -> dict[str, Any]:
    """A face's fields as plain values for JSON; fields that it lacks are left out."""
    told = {name: getattr(face, name) for name in FIELDS if hasattr(face, name)}
    return told | {
        "box": dict(zip(SIDES, face.box, strict=True)),
        "probabilities": dict(face.probabilities),
    }


def as_cells(face: FaceLike) -> dict[str, Cell]:
    """A face's fields as cells of a table, without those of the expressions."""
    told = as_dict(face)
    return _flat(told, told["box"])


def columns(*, without: str) -> dict[str, str]:
    """The names and Arrow types of all cells in order, except the one named by `without`."""
    kinds = _flat(FIELDS, dict.fromkeys(SIDES, FIELDS["box"]))
    del kinds[without]
    return kinds


def with_figures(kinds: Mapping[str, str], figures: Sequence[str]) -> dict[str, str]:
    """Add a column of numbers for each of some expressions.

    Raises:
        InputError: an expression has the name of another column, which it would replace.
    """
    names = [*kinds, *figures]
    for name in figures:
        if names.count(name) > 1:
            raise InputError(
                f"the expression {name!r} of this network has the name of another column of its tables; use the "
                "results in JSON or Python, or train with another name for it"
            )
    return dict(kinds) | dict.fromkeys(figures, "double")


def _flat(told: Mapping[str, Any], box: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in told.items():
        if name == "box":
            flat |= box
        elif name not in _BY_EXPRESSION:
            flat[name] = value
    return flat
