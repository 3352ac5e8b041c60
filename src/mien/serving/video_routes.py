"""The routes of video jobs: POST /v1/video, progress and results under /v1/jobs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from python_multipart.multipart import parse_options_header

from mien.recognise.rows import read_rows
from mien.serving import schemas, uploads
from mien.serving.guard import client_of, owner
from mien.serving.jobs import COPY, ROWS, TIMELINE, UPLOAD, Job, Jobs, check_video
from mien.serving.problems import Problem, busy, refusals
from mien.serving.settings import Settings

#: Bytes that a form may add to the video in it.
_FORM = 10_000
#: The time limit of a video's upload, in units of `Settings.timeout_s`, which stays the limit of each piece.
_PATIENCE = 20
_RAW = ("video/mp4", "video/webm", "video/quicktime", "application/octet-stream")


class VideoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    every: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Analyse every N-th frame; by default ten or more a second.",
    )
    annotated: bool = Field(False, description="Also make a copy with the faces marked.")


def router(jobs: Jobs, settings: Settings) -> APIRouter:
    """Build the routes for a service's jobs."""
    routes = APIRouter(tags=["video"])

    @routes.post(
        "/v1/video",
        status_code=202,
        response_model=schemas.JobShape,
        response_model_exclude_none=True,
        responses={
            202: {"headers": {"Location": {"schema": {"type": "string"}, "required": True}}},
            **refusals(400, 408, 413, 415, 422, 503),
        },
        openapi_extra=_request_body(),
    )
    async def send(
        request: Request, response: Response, asked: Annotated[VideoQuery, Query()]
    ) -> dict[str, Any]:
        """Start to recognise a video: the answer is a job, whose address gives its progress.

        Send the video as the body (`Content-Type: video/mp4`) or as the file `video` of a form.
        """
        most = settings.max_video + _FORM
        uploads.announced(request, most)
        with jobs.room(owner(request), client_of(request)) as job:
            job.every, job.annotated = asked.every, asked.annotated
            await _store(request, job.folder / UPLOAD, most, settings)
            await asyncio.to_thread(check_video, job.folder / UPLOAD, settings)
            jobs.start(job)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return job.to_dict()

    @routes.get(
        "/v1/jobs/{job}",
        response_model=schemas.JobShape,
        response_model_exclude_none=True,
        responses=refusals(404, 422),
    )
    async def look(request: Request, job: str) -> dict[str, Any]:
        """A job's status and progress, and the addresses of its results."""
        return jobs.get(job, owner(request)).to_dict()

    @routes.delete("/v1/jobs/{job}", status_code=204, responses=refusals(404, 422))
    async def remove(request: Request, job: str) -> None:
        """Stop a job, and delete it with all its files."""
        jobs.remove(jobs.get(job, owner(request)))

    _add_results(routes, jobs)
    return routes


def _add_results(routes: APIRouter, jobs: Jobs) -> None:
    """Add the routes of a finished job's files."""

    def add_file(name: str, media_type: str, summary: str) -> None:
        @routes.get(
            f"/v1/jobs/{{job}}/{name}",
            summary=summary,
            operation_id=f"fetch_{name}",
            response_class=FileResponse,
            responses={
                200: {"content": {media_type: {"schema": {"type": "string"}}}},
                **refusals(404, 409, 422),
            },
        )
        async def fetch(request: Request, job: str) -> FileResponse:
            file = _result(jobs.get(job, owner(request)), name)
            return FileResponse(file, media_type=media_type, filename=name)

    add_file(ROWS, "text/csv", "A row for each face of each frame.")
    add_file(TIMELINE, "image/png", "The expressions of the faces over time.")
    add_file(COPY, "video/mp4", "A copy with the faces marked.")

    @routes.get(
        "/v1/jobs/{job}/rows.json",
        response_class=StreamingResponse,
        responses={
            200: {
                "content": {
                    "application/json": {"schema": {"type": "array", "items": {"type": "object"}}}
                }
            },
            **refusals(404, 409, 422),
        },
    )
    async def rows(request: Request, job: str) -> StreamingResponse:
        """A row for each face of each frame."""
        file = _result(jobs.get(job, owner(request)), ROWS)
        return StreamingResponse(_as_json(file), media_type="application/json")


def _result(job: Job, name: str) -> Path:
    if job.status in ("queued", "running"):
        raise Problem(409, "the video is in work; ask again when its job's status is done")
    if job.status == "failed" or not (job.folder / name).exists():
        raise Problem(404, f"this video has no {name}; its job says which results it has")
    return job.folder / name


def _as_json(rows: Path) -> Iterator[str]:
    """The rows of a CSV file as the text of one JSON list, one piece for each row."""
    before = "["
    for row in read_rows(rows):
        yield before + json.dumps(row)
        before = ",\n"
    yield "[]" if before == "[" else "]"


async def _store(request: Request, target: Path, most: int, settings: Settings) -> None:
    """Write the video of a request to a file while it arrives."""
    stall_s = settings.timeout_s
    pieces = uploads.chunks(request, most, stall_s, _PATIENCE * stall_s)
    kind, options = parse_options_header(request.headers.get("content-type"))
    try:
        if kind == b"multipart/form-data":
            await _store_form(pieces, options.get(b"boundary"), target)
        elif kind.startswith(b"video/") or kind == b"application/octet-stream":
            with target.open("wb") as file:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
        else:
            raise uploads.unknown_type(
                kind, "send a video as video/..., or a form as multipart/form-data"
            )
    except OSError:
        raise busy("the service has no room for the video; try again later") from None
    if not target.stat().st_size:
        raise Problem(422, "the video: it is empty; send a file that has content")


async def _store_form(pieces: AsyncIterator[bytes], boundary: bytes | None, target: Path) -> None:
    with ExitStack() as opened:

        def begin(_: str) -> Callable[[bytes], object]:
            try:
                return opened.enter_context(target.open("xb")).write
            except FileExistsError:
                raise Problem(422, "the form: it has several videos; send one at a time") from None

        form = uploads.Form(boundary, "video", begin)
        async for piece in pieces:
            await asyncio.to_thread(form.write, piece)
        form.finish()
    if not target.exists():
        raise Problem(422, "the form: it has no video; send one as a file called video")


def _request_body() -> dict[str, Any]:
    """Describe the request's body for OpenAPI: a form or the video itself."""
    form = {"multipart/form-data": schemas.only("video", schemas.BINARY)}
    return schemas.request_body(form | dict.fromkeys(_RAW, schemas.BINARY))
