"""The service as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from mien.recognise.recognizer import Model
from mien.serving import (
    about,
    guard,
    live,
    problems,
    recognise_routes,
    schemas,
    video_routes,
)
from mien.serving.engine import Engine
from mien.serving.jobs import Jobs, sweep_dead
from mien.serving.prometheus import Metrics
from mien.serving.settings import Settings
from mien.version import __version__

#: The folder of the web page.
PAGE = Path(__file__).parent / "page"
#: FastAPI from 0.143 on sends requests and error messages to the OpenTelemetry exporter that the process or its
#: environment configures. Requests may hold photos of people, so all of it is switched off.
_NO_TELEMETRY: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(
    model: Model,
    settings: Settings | None = None,
    *,
    loopback: bool = True,
    card: bytes | None = None,
) -> FastAPI:
    """Build the service for one model: REST routes, live cameras, videos and the web page.

    Args:
        model: a `FaceModel`, best opened with `threads=1`: requests run in parallel.
        settings: limits and API keys; by default `Settings()`.
        loopback: the service listens on a loopback address only, so requests have to name one in `Host`.
        card: the HTML page that `mien card` wrote for the model; the web page then links to it.

    Returns:
        An ASGI application. It starts and stops the engine's threads in its lifespan.
    """
    settings = settings or Settings()
    metrics = Metrics()
    engine = Engine(model, settings, metrics)
    jobs = Jobs(engine, settings, metrics)

    app = FastAPI(
        title="mien",
        version=__version__,
        summary="Faces in pictures and what their expressions are taken for.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, model, engine, jobs),
        telemetry=_NO_TELEMETRY,
    )
    problems.install(app)
    app.include_router(recognise_routes.router(engine, settings, metrics))
    app.include_router(live.router(engine, settings, metrics))
    app.include_router(video_routes.router(jobs, settings))
    app.include_router(about.router(engine, settings, metrics, card=card))
    _describe(app, settings)
    if PAGE.is_dir():
        app.mount("/page", StaticFiles(directory=PAGE, html=True))
        app.router.default = _Page(PAGE)
    app.add_middleware(guard.Gate, settings=settings)
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Location", "Retry-After"],
        )
    app.add_middleware(guard.OnlyOurOwn, settings=settings, loopback=loopback)
    app.add_middleware(guard.Outermost, metrics=metrics)
    return app


@asynccontextmanager
async def _lifespan(model: Model, engine: Engine, jobs: Jobs, _: FastAPI) -> AsyncIterator[None]:
    sweep_dead()
    model(np.zeros((1, *model.card.input.shape), np.uint8))  # the first time is the slowest
    try:
        yield
    finally:
        jobs.close()
        engine.close()


class _Page:
    """Serves the files of the web page for each path that no route of the service takes."""

    def __init__(self, folder: Path) -> None:
        self._files = StaticFiles(directory=folder, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await self._files(scope, receive, send)
        else:
            raise HTTPException(404)


def _describe(app: FastAPI, settings: Settings) -> None:
    """Add to the OpenAPI description the refusals and the API key that all routes share."""
    original = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            said = original()
            parts = said.setdefault("components", {})
            shape = schemas.ProblemShape.model_json_schema()
            parts.setdefault("schemas", {})["ProblemShape"] = shape
            everywhere = [421, 403] + [401] * bool(settings.api_keys) + [429] * bool(settings.rate)
            for path, methods in said["paths"].items():
                for told in methods.values():
                    guarded = path.startswith(("/v1/", "/metrics"))
                    for status, answer in problems.refusals(*everywhere).items():
                        if guarded or status in (421, 403):
                            told["responses"].setdefault(str(status), answer)
                    told["responses"].setdefault("default", problems.refusals(500)[500])
                    if guarded and settings.api_keys:
                        told["security"] = [{"key": []}]
            if settings.api_keys:
                parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return app.openapi_schema or {}

    app.openapi = described  # type: ignore[method-assign]
