"""Errors of the service as `application/problem+json` (RFC 9457), each with one plain sentence."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import (
    RequestValidationError,
    ValidationException,
    WebSocketRequestValidationError,
)
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.websockets import WebSocketState

from mien.errors import visible

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 (the RFC's own name)
    """An error that becomes the answer to a request.

    Args:
        status: the HTTP status.
        detail: one sentence: the fault and its remedy.
        headers: headers of the answer, `_` for `-`: `Retry_After="1"`.

    >>> Problem(404, "there is no such job").to_dict()["title"]
    'Not Found'
    """

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        self.detail = visible(detail)
        super().__init__(self.detail)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    def response(self) -> Response:
        """The HTTP response: status, headers and the JSON body."""
        return Response(json.dumps(self.to_dict()), self.status, self.headers, MEDIA_TYPE)


def busy(detail: str) -> Problem:
    """A 503 that asks to come back in a second."""
    return Problem(503, detail, Retry_After="1")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route may answer with, for the OpenAPI description."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemShape"}}}
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }
    for status in (429, 503):
        if status in told:
            after = {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}
            told[status]["headers"] = {"Retry-After": after}
    return told


def install(app: FastAPI) -> None:
    """Turn the exceptions of routes into problems: ours, Starlette's and those of validation."""

    async def answer(asker: Request | WebSocket, error: Exception) -> Response | None:
        problem = _problem(error)
        # Starlette names the methods of one route, a path may have several.
        if problem.status == 405:
            problem.headers["Allow"] = _methods(asker)
        response = problem.response()
        if isinstance(asker, Request):
            return response
        if asker.application_state == WebSocketState.CONNECTING:
            await asker.send_denial_response(response)
        return None

    for kind in (Problem, HTTPException, RequestValidationError, WebSocketRequestValidationError):
        app.add_exception_handler(kind, answer)  # type: ignore[arg-type]


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        problem = Problem(error.status_code, _SENTENCES.get(error.status_code, str(error.detail)))
        problem.headers.update(error.headers or {})
        return problem
    return Problem(422, _first_fault(cast(ValidationException, error)))


_SENTENCES = {
    404: "there is nothing at this address; /docs lists all addresses",
    405: "this address does not take this method; /docs lists the methods of each address",
}


def _methods(asker: Request | WebSocket) -> str:
    """The methods that an address takes, for the header Allow."""
    for path, takes in asker.app.openapi()["paths"].items():
        if compile_path(path)[0].match(asker.scope["path"]):
            return ", ".join(sorted(takes)).upper()
    return "GET"


def _first_fault(error: ValidationException) -> str:
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: not known here; /docs lists the known parameters"
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
