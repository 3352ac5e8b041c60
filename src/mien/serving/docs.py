"""The page /docs: a list of the routes and their parameters; openapi.json says the rest."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from mien.evaluation.pages import filled

_STYLE = Path(__file__).parent / "templates" / "docs.css"


def add(app: FastAPI) -> None:
    """Add the page to an application whose routes are all there."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(filled("docs.html.j2", "mien.serving", api=app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(_STYLE, media_type="text/css")
