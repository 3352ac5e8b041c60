"""What a service allows strangers: every limit in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mien.errors import InputError
from mien.recognise.model import BATCH


@dataclass(frozen=True)
class Settings:
    """How a service behaves. What does not fit together is an InputError.

    One client (a key; where there are none an address) has at most half of what all have together, but
    always what one request may have.

    threads: pictures that are looked at side by side; 0 is one a core.
    window_s: faces of different requests wait so long for one another, to be classified together.

    max_body: bytes of a request with pictures; max_pixels: of each; max_images: pictures of a request.
    max_size: pixels of a picture's longer side at which faces may be looked for.
    max_waiting: pictures that are waiting or in work; what comes on top is told to come later.
    max_held: bytes of all requests' bodies that are held at the same time.
    max_connections: that are open; what comes on top is hung up on.
    timeout_s: for a request to arrive, and again for its answer.

    max_live: cameras at the same time; max_frame: bytes of a frame; max_frames_per_s: a flood is more.
    idle_s: a camera that shows nothing for so long is hung up on.

    max_video: bytes of a video; max_video_pixels: of a frame (4K; decoders keep up to 17 of them);
    max_jobs: videos that are kept, waiting or done; max_job_s: of work
    on one; keep_s: its results are gone after.

    rate: requests a second and client, with as many as come in two seconds at once; 0 is any number.
    api_keys: one of them has to come with each request to /v1; none is no such need.
    allow_hosts: names under which the service may be asked, besides its own address.
    allow_origins: pages of other sites that may ask (`https://example.org`).
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
        """The number of threads that is meant: one a core that this process may use."""
        if self.threads:
            return self.threads
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
