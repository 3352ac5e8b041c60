"""Routes that describe the service: model card, /docs, health and readiness checks, Prometheus metrics."""

import json
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from mien.pages.render import filled
from mien.recognise.detectors import DETECTORS
from mien.serving import card_page, schemas
from mien.serving.engine import FORMATS, Engine
from mien.serving.problems import busy, refusals
from mien.serving.prometheus import MEDIA_TYPE, Metrics
from mien.serving.settings import Settings
from mien.version import __version__

_STYLE = Path(__file__).parent / "templates" / "docs.css"


def router(
    engine: Engine, settings: Settings, metrics: Metrics, *, card: bytes | None
) -> APIRouter:
    """Build the routes for one engine; `card` is the HTML page of its model, or None."""
    routes = APIRouter(tags=["about"])
    described = json.dumps(
        {
            **json.loads(engine.model.card.to_json()),
            "version": __version__,
            "card_page": card_page.ADDRESS if card is not None else None,
            "detectors": list(DETECTORS),
            "formats": list(FORMATS),
            "limits": _limits(settings),
        }
    )

    @routes.get("/v1/model", response_model=schemas.ModelShape)
    async def model() -> Response:
        """The model's card: its expressions, scores and provenance, and this service's limits."""
        return Response(described, media_type="application/json")

    @routes.get("/healthz", response_model=schemas.StatusShape)
    async def healthz() -> dict[str, str]:
        """Liveness: the process runs."""
        return {"status": "ok"}

    @routes.get("/readyz", response_model=schemas.StatusShape, responses=refusals(503))
    async def readyz() -> dict[str, str]:
        """Readiness: one more picture can be queued."""
        if engine.full:
            raise busy("the queue of pictures is full; try again in a second")
        return {"status": "ok"}

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    )
    async def figures() -> Response:
        """Counts and times, for Prometheus."""
        return Response(metrics.text(), media_type=MEDIA_TYPE)

    @routes.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        """The routes and their parameters; openapi.json has the schemas."""
        return HTMLResponse(filled("docs.html.j2", "mien.serving", api=request.app.openapi()))

    @routes.get("/docs.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(_STYLE, media_type="text/css")

    if card is not None:

        @routes.get(f"/{card_page.ADDRESS}", include_in_schema=False)
        async def page() -> HTMLResponse:
            return HTMLResponse(card, headers={"Content-Security-Policy": card_page.POLICY})

    return routes


def _limits(settings: Settings) -> dict[str, int]:
    return {
        "body_bytes": settings.max_body,
        "pixels": settings.max_pixels,
        "images": settings.max_images,
        "video_bytes": settings.max_video,
        "frame_bytes": settings.max_frame,
    }
