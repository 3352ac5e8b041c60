"""The recogniser that all requests share: it processes pictures in parallel and batches their faces.

Pictures wait in one bounded queue. A small pool of threads decodes them and finds their faces; the
faces of all requests then go through the network in shared batches. All bookkeeping happens in the
event loop's thread, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import cv2
import numpy as np
import pydantic
from numpy.typing import NDArray

from mien.allocator import return_freed_memory
from mien.errors import InputError
from mien.recognise.detectors import DETECTORS, READY, USUAL
from mien.recognise.explain import hidden_parts
from mien.recognise.model import BATCH
from mien.recognise.recognizer import Faces, Model, Recognizer, Seen
from mien.serving.problems import Problem, busy
from mien.serving.prometheus import Metrics
from mien.serving.settings import Settings
from mien.serving.shares import Shares


def _known(name: str) -> str:
    if name not in DETECTORS:
        raise ValueError(f"known are {', '.join(DETECTORS)}")
    return name


DetectorName = Annotated[
    str,
    pydantic.AfterValidator(_known),
    pydantic.WithJsonSchema({"type": "string", "enum": list(DETECTORS)}),
]
#: At most so many faces of a request are explained, from the left: each takes hundreds of runs of the network.
MOST_EXPLAINED = 8
#: Largest batch of faces from several requests. With batches as large as the model takes, all requests would wait
#: at the same time, and no thread would decode the next pictures meanwhile.
_TOGETHER = BATCH // 2
#: Seconds after a request until freed memory is returned to the system, once for all requests in between.
_TIDY_S = 20
FORMATS = ("JPEG", "PNG", "WebP", "BMP", "GIF")
#: First bytes of each format. For BMP also its reserved bytes: other files may begin with the letters BM.
_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|BM.{4}\x00{4}|GIF8[79]a", re.DOTALL
)

#: The network's input, uint8 (C, H, W), and the map that `hidden_parts` computes for it, float32 (H, W).
Reason: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.float32]]


@dataclass(frozen=True)
class Answer:
    """The faces of one picture; `reasons` explain the first of them, and are empty unless requested."""

    faces: Faces
    reasons: list[Reason]


@dataclass
class _Order:
    """One request's work: recogniser, threads, faces left to explain; `off` once its client is gone."""

    recognizer: Recognizer
    explain: bool
    threads: int
    to_explain: int = MOST_EXPLAINED
    off: bool = False


class Engine:
    """Recognises pictures for many requests at once. Call its methods in the event loop's thread only."""

    def __init__(self, model: Model, settings: Settings, metrics: Metrics) -> None:
        self.model = model
        self._settings = settings
        self._metrics = metrics
        self._recognizers = {
            name: Recognizer(model, detector=name, threads=1, max_pixels=settings.max_pixels)
            for name in DETECTORS
        }
        # One thread for each picture: pictures are processed in parallel, and more threads would only compete.
        cv2.setNumThreads(1)
        self._lookers = ThreadPoolExecutor(settings.workers, "mien-look")
        self._batches = _Batches(self._recognizers[READY], settings, metrics)
        self._line = Shares(
            settings.max_waiting,
            "too many pictures are waiting already; come again in a second",
            # A full request has to fit, even if that is more than half.
            each=max(settings.max_images, settings.max_waiting // 2),
        )
        self._tidy: asyncio.TimerHandle | None = None
        metrics.waiting.set_function(lambda: self._line.total)

    @property
    def full(self) -> bool:
        """Whether the queue has no room for one more picture."""
        return self._line.full

    def check_room(self, client: str) -> None:
        """Check that the queue has room for one more picture of a client.

        Raises:
            Problem: 503 if the queue is full, or this client has its share of it.
        """
        self._line.check(client)

    def close(self) -> None:
        """End the threads after their current work; queued work is cancelled."""
        if self._tidy is not None:
            self._tidy.cancel()
        self._lookers.shutdown(cancel_futures=True)
        self._batches.close()

    def for_films(self) -> Recognizer:
        """A recogniser for the thread of videos: a single, upright search in each frame."""
        return self._recognizers[USUAL].for_films()

    async def recognise(
        self,
        pictures: Sequence[bytes | Problem],
        detector: DetectorName = USUAL,
        *,
        size: int | None = None,
        film: bool = False,
        explain: bool = False,
        client: str = "",
    ) -> list[Answer | Problem]:
        """Find and classify the faces of some pictures.

        Args:
            pictures: encoded files; a `Problem` among them is returned in its place.
            detector: its name.
            size: pixels of the longer side at which faces are searched; None is the detector's default.
            film: the pictures are frames of a camera: a single, upright search each, which is faster.
            explain: compute which pixels mattered.
            client: the sender, as `guard.client_of` names it: each has at most half of the queue.

        Returns:
            For each picture, in order, its faces or the problem with it.

        Raises:
            Problem: 422 if the detector does not take `size`; 503 if the queue is full or the answer takes
                longer than `Settings.timeout_s`.
        """
        # Ready crops are decoded in a moment: splitting them over threads costs more than it saves.
        quick = detector == READY and not explain
        recognizer = self._recognizers[detector]
        try:
            recognizer = recognizer if size is None else recognizer.with_size(size)
        except InputError as error:
            raise Problem(422, str(error)) from None
        if film:
            recognizer = recognizer.for_films()
        order = _Order(recognizer, explain, threads=1 if quick else self._settings.workers)
        with self._in_line(client, len(pictures)):
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    return await self._all(order, pictures)
            except TimeoutError:
                raise busy(
                    f"no answer within {self._settings.timeout_s:g} s; send fewer or smaller "
                    "pictures, or come later"
                ) from None
            finally:
                # Threads that still work for this request stop before their next picture.
                order.off = True

    @contextmanager
    def _in_line(self, client: str, count: int) -> Iterator[None]:
        try:
            with self._line.taken(client, count):
                yield
        finally:
            if self._tidy is None:
                self._tidy = asyncio.get_running_loop().call_later(_TIDY_S, self._tidy_up)

    def _tidy_up(self) -> None:
        self._tidy = None
        self._lookers.submit(return_freed_memory)

    async def _all(
        self, order: _Order, pictures: Sequence[bytes | Problem]
    ) -> list[Answer | Problem]:
        """Spread the pictures over the threads, and put the answers back in order."""
        shares = min(len(pictures), order.threads)
        answered = await asyncio.gather(
            *(self._some(order, pictures[place::shares]) for place in range(shares))
        )
        # Every place is filled below; the shares are interleaved, so that they differ by one picture at most.
        together: list[Answer | Problem] = [_NOTHING] * len(pictures)
        for place, share in enumerate(answered):
            together[place::shares] = share
        return together

    async def _some(
        self, order: _Order, pictures: Sequence[bytes | Problem]
    ) -> list[Answer | Problem]:
        loop = asyncio.get_running_loop()
        # Announced before the search, so that the faces of other requests wait for these.
        with self._batches.coming():
            looked = await loop.run_in_executor(self._lookers, _look, order, pictures)
        faces = await self._batches.answer([one[0] for one in looked if isinstance(one, tuple)])
        rest = iter(faces)
        return [Answer(next(rest), one[1]) if isinstance(one, tuple) else one for one in looked]


_NOTHING = Problem(500, "no answer")


def _look(
    order: _Order, pictures: Sequence[bytes | Problem]
) -> list[tuple[Seen, list[Reason]] | Problem]:
    """Decode some pictures and find their faces; runs in a thread of the pool."""
    looked: list[tuple[Seen, list[Reason]] | Problem] = []
    for picture in pictures:
        if order.off:
            return []
        try:
            if isinstance(picture, Problem):
                raise picture
            check_format(picture)
            seen = order.recognizer.look(picture)
        except Problem as problem:
            looked.append(problem)
        except InputError as error:
            sentence = str(error).removeprefix("the bytes given: ")
            looked.append(Problem(422, f"the picture: {sentence}"))
        else:
            looked.append((seen, _reasons(order, seen)))
    return looked


def check_format(picture: bytes) -> None:
    """Check by its first bytes that a file has an accepted format; its declared type does not count.

    Raises:
        Problem: 422 if it is empty, 415 if its format is none of `FORMATS`.
    """
    if not picture:
        raise Problem(422, "the picture: it is empty; send a file that has content")
    if not _STARTS.match(picture):
        raise Problem(
            415, f"the picture: its format is none of {', '.join(FORMATS)}; convert it to one"
        )


def _reasons(order: _Order, seen: Seen) -> list[Reason]:
    if not order.explain:
        return []
    reasons = []
    for crop in seen.crops:
        if order.off or order.to_explain < 1:
            break
        order.to_explain -= 1
        reasons.append((crop, hidden_parts(order.recognizer.model, crop)))
    return reasons


class _Batches:
    """Collects the faces of requests that arrive together, and classifies them in one batch.

    While all threads work, faces keep collecting: a larger batch costs less for each face, and
    submitting earlier would only move the wait to the pool's queue. One full batch is submitted ahead
    of time, so that the first free thread starts it without waiting for the event loop.
    """

    def __init__(self, recognizer: Recognizer, settings: Settings, metrics: Metrics) -> None:
        self._recognizer = recognizer
        self._window_s = settings.window_s
        self._metrics = metrics
        self._idle = settings.workers
        self._pool = ThreadPoolExecutor(settings.workers, "mien-classify")
        self._gathered: deque[_Asked] = deque()
        self._faces = 0
        self._coming = 0
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        for asked in self._gathered:
            asked.answered.cancel()
        self._gathered.clear()
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Announce that more faces will follow; collected ones wait up to `window_s` for them."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def answer(self, seen: list[Seen]) -> list[Faces]:
        if not seen:
            return []
        faces = sum(len(one.crops) for one in seen)
        asked = _Asked(seen, faces, asyncio.get_running_loop().create_future())
        self._gathered.append(asked)
        self._faces += faces
        if self._faces >= _TOGETHER or not self._coming:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window_s, self._send)
        return await asked.answered

    def _send(self) -> None:
        """Submit a batch for each idle thread, and one full batch ahead of time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._gathered and (self._idle > 0 or (self._idle == 0 and self._faces >= _TOGETHER)):
            batch = [self._gathered.popleft()]
            faces = batch[0].faces
            while self._gathered and faces + self._gathered[0].faces <= _TOGETHER:
                batch.append(self._gathered.popleft())
                faces += batch[-1].faces
            self._faces -= faces
            self._classify(batch, faces)

    def _classify(self, batch: list[_Asked], faces: int) -> None:
        if faces:
            self._metrics.batch.observe(faces)
        everything = [one for asked in batch for one in asked.seen]
        work = asyncio.get_running_loop().run_in_executor(
            self._pool, self._recognizer.answer, everything
        )
        self._idle -= 1
        work.add_done_callback(lambda done: self._classified(batch, done))

    def _classified(self, batch: list[_Asked], done: asyncio.Future[list[Faces]]) -> None:
        self._idle += 1
        _share_out(batch, done)
        if self._timer is None:  # nobody waits for faces that will follow
            self._send()


@dataclass(frozen=True)
class _Asked:
    """Pictures of a request whose faces are found, the number of faces, and the future for the answer."""

    seen: list[Seen]
    faces: int
    answered: asyncio.Future[list[Faces]]


def _share_out(batch: list[_Asked], done: asyncio.Future[list[Faces]]) -> None:
    """Give each request its part of a batch's answers, or the batch's error."""
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    answers = iter([] if error else done.result())
    for asked in batch:
        part = [] if error else [next(answers) for _ in asked.seen]
        if asked.answered.done():  # cancelled: its client is gone
            continue
        if error:
            asked.answered.set_exception(error)
        else:
            asked.answered.set_result(part)
