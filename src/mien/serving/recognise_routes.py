"""The route POST /v1/recognise: pictures in, faces and expressions out."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from mien.recognise.detectors import USUAL
from mien.recognise.explain import painted
from mien.recognise.pictures import data_url
from mien.recognise.yunet import SMALLEST
from mien.serving import schemas, uploads
from mien.serving.engine import Answer, DetectorName, Engine, Reason
from mien.serving.guard import client_of
from mien.serving.problems import Problem, refusals
from mien.serving.prometheus import Metrics
from mien.serving.settings import Settings
from mien.serving.shares import Shares
from mien.serving.uploads import PICTURE_TYPES, Upload


def router(engine: Engine, settings: Settings, metrics: Metrics) -> APIRouter:
    """Build the route for one engine."""
    routes = APIRouter(tags=["recognise"])
    card = engine.model.card
    most = len(card.expressions)
    holding = Shares(
        settings.max_held,
        "the service is receiving too much data now; try again in a second",
        each=max(settings.max_body, settings.max_held // 2),
    )
    # Bodies are parsed in threads, so that none blocks the event loop; two at a time, as each may take three times
    # its size in memory.
    parsing = asyncio.Semaphore(2)
    named = {"name": card.name, "digest": card.digest}

    class RecogniseQuery(BaseModel):
        model_config = ConfigDict(extra="forbid")
        top: int = Field(most, ge=1, le=most, description="Give the N most likely expressions.")
        explain: bool = Field(
            False, description="Show which pixels mattered, for the first eight faces."
        )
        detector: DetectorName = Field(
            USUAL, description="The face detector; none: each picture is a face, already cropped."
        )
        size: int | None = Field(
            None,
            ge=SMALLEST,
            le=settings.max_size,
            description="Size at which faces are searched, in pixels of the longer side: a larger "
            "one finds smaller faces. By default 640, and 1760 for pictures above 2.1 megapixels.",
        )

    @routes.post(
        "/v1/recognise",
        response_model=schemas.RecognisedShape,
        responses=refusals(400, 408, 413, 415, 422, 503),
        openapi_extra=_request_body(settings.max_images),
    )
    async def recognise(request: Request, asked: Annotated[RecogniseQuery, Query()]) -> Response:
        """Find the faces of one or more pictures, and their expressions.

        Send one picture as the body (`Content-Type: image/jpeg`), several as the files `images` of
        a form, or as base64 in JSON. A picture that cannot be read gives a problem in its place; if
        it is the only one, the whole answer is the problem.
        """
        client = client_of(request)
        engine.check_room(client)
        holding.check(client, uploads.announced(request, settings.max_body))
        with holding.taken(client) as hold:
            found = await _received(request, settings, hold, parsing)
            answers = await engine.recognise(
                [one.content for one in found],
                asked.detector,
                size=asked.size,
                explain=asked.explain,
                client=client,
            )
        if len(answers) == 1 and isinstance(answers[0], Problem):
            raise answers[0]
        metrics.faces.inc(sum(len(one.faces) for one in answers if isinstance(one, Answer)))
        images = [
            _image(upload, answer, asked.top, explain=asked.explain)
            for upload, answer in zip(found, answers, strict=True)
        ]
        told = await asyncio.to_thread(json.dumps, {"model": named, "images": images})
        return Response(told, media_type="application/json")

    return routes


async def _received(
    request: Request, settings: Settings, hold: Callable[[int], None], parsing: asyncio.Semaphore
) -> list[Upload]:
    """The pictures of a request, read and parsed; its body is not kept."""
    kind = request.headers.get("content-type")
    body = await uploads.whole_body(request, settings, hold)
    async with parsing:
        return await asyncio.to_thread(uploads.pictures, kind, body, settings.max_images)


def _image(upload: Upload, answer: Answer | Problem, top: int, *, explain: bool) -> dict[str, Any]:
    """The answer for one picture as plain values, with the `top` highest probabilities of each face."""
    if isinstance(answer, Problem):
        return {"name": upload.name, "problem": answer.to_dict()}
    told = answer.faces.to_dict()
    for place, face in enumerate(answer.faces):
        told["faces"][place]["probabilities"] = likeliest(face.probabilities, top)
        if explain:
            reasons = answer.reasons[place : place + 1]
            told["faces"][place]["explanation"] = explanation(*reasons) if reasons else None
    return {"name": upload.name, **told}


def likeliest(probabilities: Mapping[str, float], top: int) -> dict[str, float]:
    """The `top` highest probabilities, the highest first; all of them in the model's order.

    >>> likeliest({"happy": 0.2, "sad": 0.7, "angry": 0.1}, top=2)
    {'sad': 0.7, 'happy': 0.2}
    """
    if top >= len(probabilities):
        return dict(probabilities)
    return dict(sorted(probabilities.items(), key=lambda item: -item[1])[:top])


def explanation(reason: Reason) -> dict[str, Any]:
    """The map of the pixels that mattered, as rows of numbers and as a PNG in a data: address."""
    face, mattered = reason
    height, width = mattered.shape
    return {
        "width": width,
        "height": height,
        "map": [[round(value, 4) for value in row] for row in mattered.tolist()],
        "image": data_url(painted(face, mattered)),
    }


def _request_body(most: int) -> dict[str, Any]:
    """Describe the request's body for OpenAPI: a form, JSON or one picture."""
    several = {"type": "array", "minItems": 1, "maxItems": most}
    base64 = {"type": "string", "format": "byte"}
    return schemas.request_body(
        {
            "multipart/form-data": schemas.only("images", {**several, "items": schemas.BINARY}),
            "application/json": schemas.only("images", {**several, "items": base64}),
            **dict.fromkeys(PICTURE_TYPES, schemas.BINARY),
        }
    )
