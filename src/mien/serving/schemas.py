"""Schemas of answers for the OpenAPI description; tests check the answers against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mien.card import ModelCard
from mien.recognise.doubt import Reason

Probability = Annotated[float, Field(ge=0, le=1)]


#: The schema of a file's bytes.
BINARY = {"type": "string", "format": "binary"}


def only(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with one field."""
    return {
        "type": "object",
        "properties": {name: value},
        "required": [name],
        "additionalProperties": False,
    }


def request_body(by_type: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Describe the body of a request for OpenAPI: media type -> schema."""
    content = {kind: {"schema": schema} for kind, schema in by_type.items()}
    return {"requestBody": {"required": True, "content": content}}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemShape(_Shape):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = Field(description="One sentence: the fault and its remedy.")


class BoxShape(_Shape):
    """Pixels of the upright picture; x, y is the upper left corner."""

    x: float
    y: float
    width: float
    height: float


class ExplanationShape(_Shape):
    """Which pixels mattered: how much the answer's probability falls if a square hides them."""

    width: int
    height: int
    map: list[list[float]] = Field(
        description="height rows of width numbers, -1..1; above 0 the pixel spoke for the answer."
    )
    image: str = Field(description="The same as a picture, a data: address of a PNG.")


class LookedShape(_Shape):
    """The resolution at which faces were searched."""

    size: int = Field(description="Longer side of the picture in the closest search, in pixels.")
    smallest_face: int = Field(
        description="Smallest face that is reliably found, in pixels of the picture."
    )


class FaceShape(_Shape):
    """A face and its expression."""

    box: BoxShape
    angle: float = Field(ge=-180, le=180, description="Degrees by which it is turned clockwise.")
    detection_score: Probability
    expression: str
    probability: Probability
    uncertain: bool = Field(description="The expression should not be relied on.")
    why_uncertain: Reason | None = Field(
        description="The limit that makes the answer uncertain; null if it is sure."
    )
    probabilities: dict[str, Probability]
    explanation: ExplanationShape | None = None


class PictureShape(_Shape):
    """The faces of a picture, from left to right."""

    name: str | None
    width: int
    height: int
    looked_at: LookedShape | None = Field(description="null with detector=none.")
    faces: list[FaceShape]


class RefusedShape(_Shape):
    """One of several pictures, which could not be read."""

    name: str | None
    problem: ProblemShape


class ModelNameShape(_Shape):
    """The name and SHA-256 digest of the model that answered."""

    name: str
    digest: str


class RecognisedShape(_Shape):
    """The answers for all pictures, in the order of the request."""

    model: ModelNameShape
    images: list[PictureShape | RefusedShape]


class LimitsShape(_Shape):
    """Limits of a request's size."""

    body_bytes: int
    pixels: int
    images: int
    video_bytes: int
    frame_bytes: int


@dataclass(frozen=True, kw_only=True)
class ModelShape(ModelCard):
    """The model's card, and the limits of this service."""

    version: str
    card_page: str | None
    detectors: list[str]
    formats: list[str]
    limits: LimitsShape


class StatusShape(_Shape):
    """The state of the service."""

    status: Literal["ok"]


class ResultsShape(_Shape):
    """Paths of a video's results, relative to the host."""

    csv: str
    json_: str = Field(alias="json")
    timeline: str | None = Field(None, description="Only if a face was found.")
    video: str | None = Field(None, description="Only with annotated=true.")


class JobShape(_Shape):
    """A video job: its state, and its results once it is done."""

    id: str
    status: Literal["queued", "running", "done", "failed"]
    progress: Probability
    detail: str | None = Field(
        None, description="The reason of a failure, or a note on an incomplete result."
    )
    summary: dict[str, Any] | None = None
    results: ResultsShape | None = None
