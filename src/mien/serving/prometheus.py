"""Prometheus metrics of the service: counts and times only, nothing about the content of pictures."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mien.recognise.model import BATCH

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, BATCH, 2 * BATCH, 4 * BATCH)


class Metrics:
    """The counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "mien_requests", "Answers given.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "mien_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.faces = Counter("mien_faces", "Faces recognised.", registry=registry)
        self.batch = Histogram(
            "mien_batch_faces", "Faces classified together.", buckets=_SIZES, registry=registry
        )
        self.waiting = Gauge(
            "mien_waiting_pictures", "Pictures waiting or in work.", registry=registry
        )
        self.live = Gauge("mien_live", "Cameras connected.", registry=registry)
        self.frames = Counter(
            "mien_live_frames", "Frames of cameras.", ["outcome"], registry=registry
        )
        self.jobs = Gauge("mien_jobs", "Videos kept, waiting or done.", registry=registry)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
