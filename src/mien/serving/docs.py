"""The page /docs: the OpenAPI description for people, with nothing loaded from anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from mien.pages.render import filled

_STYLE = Path(__file__).parent / "templates" / "docs.css"


def add(app: FastAPI) -> None:
    """Add the page to an application whose routes are all there."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = filled("docs.html.j2", "mien.serving", api=app.openapi(), value=_value, shape=_shape)
        return HTMLResponse(page)

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(_STYLE, media_type="text/css")


def _value(schema: dict[str, Any]) -> str:
    """What a value may be, in a few words.

    >>> _value({"type": "integer", "minimum": 1, "maximum": 7, "default": 7})
    'integer, 1 to 7, 7 unless said'
    """
    if "anyOf" in schema:
        kinds = [_value(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in schema or "const" in schema:
        said = " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    elif schema.get("type") == "array":
        said = f"list of {_value(schema['items'])}"
    elif "$ref" in schema:
        said = _name(schema)
    else:
        said = schema.get("type", "object")
    if "minimum" in schema and "maximum" in schema:
        said += f", {schema['minimum']:g} to {schema['maximum']:g}"
    if "default" in schema and schema["default"] is not None:
        said += f", {str(schema['default']).lower()} unless said"
    return str(said)


def _shape(answer: dict[str, Any]) -> str:
    """Which shape an answer has, where it has one of ours and is no problem."""
    for content in answer.get("content", {}).values():
        name = _name(content.get("schema", {}))
        if name and name != "ProblemShape":
            return f" ({name})"
    return ""


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
