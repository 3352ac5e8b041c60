"""The shapes of answers, for the OpenAPI page; tests hold the answers to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mien.recognise.doubt import Reason

Probability = Annotated[float, Field(ge=0, le=1)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemShape(_Shape):
    """RFC 9457: what went wrong."""

    type: str
    title: str
    status: int
    detail: str = Field(description="One sentence: what, and what to do.")


class BoxShape(_Shape):
    """Pixels of the upright picture; x, y is the upper left corner."""

    x: float
    y: float
    width: float
    height: float


class ExplanationShape(_Shape):
    """Which pixels mattered: what the answer loses where a square hides the face."""

    width: int
    height: int
    map: list[list[float]] = Field(
        description="height rows of width numbers, -1..1; above 0 the pixel spoke for the answer."
    )
    image: str = Field(description="The same as a picture, a data: address of a PNG.")


class LookedShape(_Shape):
    """How closely a picture was looked at for faces."""

    size: int = Field(description="Pixels of its longer side in the closest look.")
    smallest_face: int = Field(description="Pixels from which on faces are found as a rule.")


class FaceShape(_Shape):
    """A face and its expression."""

    box: BoxShape
    angle: float = Field(ge=-180, le=180, description="Degrees by which it is turned clockwise.")
    detection_score: Probability
    expression: str
    probability: Probability
    uncertain: bool = Field(description="Better say nothing.")
    why_uncertain: Reason | None = Field(
        description="The model's limit that spoke; null where sure."
    )
    probabilities: dict[str, Probability]
    explanation: ExplanationShape | None = None


class PictureShape(_Shape):
    """The faces of a picture, from left to right."""

    name: str | None
    width: int
    height: int
    looked_at: LookedShape | None = Field(description="None where no face is looked for.")
    faces: list[FaceShape]


class RefusedShape(_Shape):
    """A picture of several that could not be read."""

    name: str | None
    problem: ProblemShape


class ModelNameShape(_Shape):
    """Which model answered."""

    name: str
    digest: str


class RecognisedShape(_Shape):
    """Pictures in the order in which they were sent."""

    model: ModelNameShape
    images: list[PictureShape | RefusedShape]


class LimitsShape(_Shape):
    """What a request may bring."""

    body_bytes: int
    pixels: int
    images: int
    video_bytes: int
    frame_bytes: int


class ModelShape(BaseModel):
    """What the model says of itself: its card, and what this service takes."""

    name: str
    expressions: list[str]
    input: dict[str, Any]
    crop: dict[str, Any]
    digest: str
    temperature: float
    uncertain_below: Probability
    uncertain_beyond: dict[str, Any]
    licence: str
    provenance: dict[str, Any]
    scores: dict[str, Any]
    parity: dict[str, Any]
    format: int
    version: str
    card_page: str | None
    detectors: list[str]
    formats: list[str]
    limits: LimitsShape


class StatusShape(_Shape):
    """How it is."""

    status: Literal["ok"]


class ResultsShape(_Shape):
    """Where a video's results are."""

    csv: str
    json_: str = Field(alias="json")
    timeline: str | None = Field(None, description="Only where a face was seen.")
    video: str | None = Field(None, description="Only where it was asked for.")


class JobShape(_Shape):
    """A video in work."""

    id: str
    status: Literal["queued", "running", "done", "failed"]
    progress: Probability
    detail: str | None = Field(None, description="Why it failed, or what was left out.")
    summary: dict[str, Any] | None = None
    results: ResultsShape | None = None
