"""WebSocket /v1/live: camera frames in, tracked faces out. A slow server drops frames, so it never lags."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, ConfigDict, Field
from starlette.websockets import WebSocketDisconnect

from mien.recognise.detectors import USUAL
from mien.recognise.record import as_dict
from mien.recognise.track import FaceTracker, TrackedFace
from mien.serving.engine import DetectorName, Engine
from mien.serving.guard import PROTOCOL, client_of
from mien.serving.problems import Problem
from mien.serving.prometheus import Metrics
from mien.serving.recognise_routes import likeliest
from mien.serving.settings import Settings
from mien.serving.shares import Bucket, Shares

#: `FaceTracker`'s gap in seconds; generous: of a slow server's few frames, a face may be missing in two or three.
_GAP_S = 3.0


@dataclass
class _Newest:
    """Holds the newest frame, and counts the frames before it that were dropped."""

    frame: int = 0
    dropped: int = 0
    came: float = 0.0
    content: bytes | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, content: bytes | None) -> bool:
        """Store a frame's bytes (None for a text message); returns whether an earlier frame is dropped."""
        late = self.news.is_set()
        self.dropped += late
        self.frame += 1
        self.content, self.came = content, time.monotonic()
        self.news.set()
        return late

    async def take(self) -> tuple[int, float, bytes | None]:
        """Wait for a new frame: its number, its time of arrival in seconds (monotonic), its bytes."""
        await self.news.wait()
        self.news.clear()
        content, self.content = self.content, None
        return self.frame, self.came, content


class _TooMuchError(Exception):
    """The connection is closed; the message is the reason that the client gets."""


class _Camera:
    """One connection: reads all frames as they arrive, and answers for the newest one."""

    def __init__(
        self, socket: WebSocket, engine: Engine, settings: Settings, metrics: Metrics
    ) -> None:
        self._socket = socket
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._client = client_of(socket)
        self._newest = _Newest()
        self._tracker = FaceTracker(gap_s=_GAP_S, uncertain_below=engine.model.card.uncertain_below)

    async def run(self, detector: DetectorName, top: int) -> None:
        """Serve the connection until either side closes it."""
        answering = asyncio.ensure_future(self._answer(detector, top))
        reading = asyncio.ensure_future(self._read())
        try:
            done, _ = await asyncio.wait((answering, reading), return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        except _TooMuchError as why:
            await self._socket.close(1008, str(why))
        except WebSocketDisconnect:
            pass
        finally:
            answering.cancel()
            reading.cancel()

    async def _read(self) -> None:
        """Receive frames, within the limit of their rate."""
        bucket = Bucket(self._settings.max_frames_per_s)
        while True:
            try:
                async with asyncio.timeout(self._settings.idle_s):
                    message = await self._socket.receive()
            except TimeoutError:
                raise _TooMuchError(f"no frame for {self._settings.idle_s:g} s") from None
            if message["type"] == "websocket.disconnect":
                return
            if bucket.take():
                raise _TooMuchError(
                    f"more frames than {self._settings.max_frames_per_s:g} a second; send fewer"
                )
            if self._newest.put(message.get("bytes")):
                self._metrics.frames.labels("dropped").inc()

    async def _answer(self, detector: DetectorName, top: int) -> None:
        newest = self._newest
        while True:
            frame, came, content = await newest.take()
            told = await self._look(content, came, detector, top)
            self._metrics.frames.labels("refused" if "problem" in told else "answered").inc()
            counts = {"frame": frame, "dropped": newest.dropped}
            took = {"milliseconds": round(1000 * (time.monotonic() - came), 1)}
            text = await asyncio.to_thread(json.dumps, counts | told | took)
            await self._socket.send_text(text)

    async def _look(
        self, content: bytes | None, came: float, detector: DetectorName, top: int
    ) -> dict[str, Any]:
        try:
            if content is None:
                raise Problem(422, "the frame: text; send each picture as one binary message")
            (answer,) = await self._engine.recognise(
                [content], detector, film=True, client=self._client
            )
            if isinstance(answer, Problem):
                raise answer
        except Problem as problem:
            return {"problem": problem.to_dict()}
        width, height = answer.faces.size
        # In a thread: matching the faces of a crowd would block the event loop.
        followed = await asyncio.to_thread(self._tracker.update, came, answer.faces)
        return {
            "width": width,
            "height": height,
            "faces": [_face(face, top) for face in followed],
        }


def _face(face: TrackedFace, top: int) -> dict[str, Any]:
    """A tracked face as plain values, with its `top` most likely smoothed probabilities."""
    return as_dict(face) | {"probabilities": likeliest(face.probabilities, top)}


def router(engine: Engine, settings: Settings, metrics: Metrics) -> APIRouter:
    """Build the route for one engine."""
    routes = APIRouter()
    most = len(engine.model.card.expressions)
    cameras = Shares(settings.max_live, "the service takes no more cameras now; try again later")
    metrics.live.set_function(lambda: cameras.total)

    class LiveQuery(BaseModel):
        model_config = ConfigDict(extra="forbid")
        top: int = Field(most, ge=1, le=most)
        detector: DetectorName = USUAL

    @routes.websocket("/v1/live")
    async def live(socket: WebSocket, asked: Annotated[LiveQuery, Query()]) -> None:
        with cameras.taken(client_of(socket), 1):
            chosen = socket.scope.get("subprotocols", ())
            await socket.accept(PROTOCOL if PROTOCOL in chosen else None)
            await _Camera(socket, engine, settings, metrics).run(asked.detector, asked.top)

    return routes
