"""The page /docs: a list of the routes and their parameters, with a link to openapi.json for the schemas."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from mien.pages.render import filled

_STYLE = Path(__file__).parent / "templates" / "docs.css"


def add(app: FastAPI) -> None:
    """Add the route /docs to an application; call it after all other routes are added."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(filled("docs.html.j2", "mien.serving", api=app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(_STYLE, media_type="text/css")
