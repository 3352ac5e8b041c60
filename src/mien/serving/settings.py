"""The service's settings: all its limits, API keys and allowed hosts."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mien.errors import InputError
from mien.recognise.model import BATCH


@dataclass(frozen=True)
class Settings:
    """All settings of a service.

    One client (an API key, or an IP address if there are no keys) gets at most half of each shared
    limit, but always enough for one full request.

    threads: pictures that are processed in parallel; 0 is one for each core.
    window_s: longest time in seconds that faces wait for those of other requests, to form one batch.

    max_body: bytes of a request with pictures; max_pixels: pixels of a picture; max_images: pictures
    of a request.
    max_size: largest `size` of a request: pixels of the longer side at which faces are searched.
    max_waiting: pictures that wait or are processed; beyond, requests get 503.
    max_held: bytes of all request bodies in memory at the same time.
    max_connections: open connections; beyond, new ones get 503 and are closed.
    timeout_s: seconds for a request to arrive, and again for its answer.

    max_live: cameras at the same time; max_frame: bytes of a frame; max_frames_per_s: frames a second
    of one camera, beyond which it is disconnected.
    idle_s: seconds without a frame after which a camera is disconnected.

    max_video: bytes of a video; max_video_pixels: pixels of a frame (4K; decoders keep up to 17 frames);
    max_jobs: videos that are kept, waiting or done; max_job_s: seconds of processing one;
    keep_s: seconds for which its results are kept.

    rate: requests a second of each client, those of two seconds at once; 0 is no limit.
    api_keys: one of them is needed for each request to /v1 and /metrics; empty is no such need.
    allow_hosts: names that the header Host may give, besides the service's address.
    allow_origins: other sites whose pages may send requests (`https://example.org`).

    Raises:
        InputError: a value is out of range, or two values contradict each other.

    >>> Settings(threads=4, rate=10).workers
    4
    """

    threads: int = 0
    window_s: float = 0.002

    max_body: int = 20_000_000
    max_pixels: int = 25_000_000
    max_images: int = BATCH
    max_size: int = 2560
    max_waiting: int = 2 * BATCH
    max_held: int = 100_000_000
    max_connections: int = 2048
    timeout_s: float = 30.0

    max_live: int = 8
    max_frame: int = 4_000_000
    max_frames_per_s: float = 60.0
    idle_s: float = 60.0

    max_video: int = 200_000_000
    max_video_pixels: int = 9_000_000
    max_jobs: int = 8
    max_job_s: float = 1800.0
    keep_s: float = 1800.0

    rate: float = 0.0
    api_keys: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not 0 <= value < float("inf"):
                raise InputError(f"{name}={value}: give a number from 0 up")
            if name.startswith("max_") and isinstance(value, int) and value < 1:
                raise InputError(f"{name}={value}: give 1 or more")
        if self.max_images > self.max_waiting:
            raise InputError(
                f"max_images={self.max_images}: more than may wait (max_waiting={self.max_waiting})"
            )
        if self.max_body > self.max_held:
            raise InputError(
                f"max_body={self.max_body}: more than may be held (max_held={self.max_held})"
            )
        if not all(key.isascii() and key.isprintable() and len(key) >= 16 for key in self.api_keys):
            raise InputError("an API key has 16 or more letters, digits and signs of ASCII")
        for origin in self.allow_origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise InputError(f"origin {origin!r}: write it like https://example.org, no path")

    @property
    def workers(self) -> int:
        """The number of threads: `threads`, or one for each core that this process may use."""
        if self.threads:
            return self.threads
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
