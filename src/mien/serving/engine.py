"""The recogniser, shared by all who ask: pictures side by side, their faces classified together.

Pictures wait in one bounded line. A small pool of threads decodes them and finds their faces; the
faces of all requests then go through the network in common batches. Everything but the work itself
happens in the event loop's thread, so nothing here needs a lock.
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
#: Faces of a request that are explained, the first from the left: one takes hundreds of looks by the network.
MOST_EXPLAINED = 8
#: Faces of several requests that are classified at once: in batches as large as the model takes, all requests
#: would wait at the same time, and nobody would read the next pictures meanwhile.
_TOGETHER = BATCH // 2
#: After work, the memory that it took is returned so many seconds later, once for all that came meanwhile.
_TIDY_S = 20
FORMATS = ("JPEG", "PNG", "WebP", "BMP", "GIF")
#: How they begin. Of a BMP its reserved bytes too: other formats may begin with the same letters.
_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|BM.{4}\x00{4}|GIF8[79]a", re.DOTALL
)

#: What the network was shown, uint8 (C, H, W), and a map, float32 (H, W), as `hidden_parts` says.
Reason: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.float32]]


@dataclass(frozen=True)
class Answer:
    """What was recognised in a picture; reasons: of its first faces, where they were asked for."""

    faces: Faces
    reasons: list[Reason]


@dataclass
class _Order:
    """What one request wants, by so many threads; `off` once nobody waits for it any more."""

    recognizer: Recognizer
    explain: bool
    threads: int
    to_explain: int = MOST_EXPLAINED
    off: bool = False


class Engine:
    """Recognises for many at once. Its methods are called in the event loop's thread."""

    def __init__(self, model: Model, settings: Settings, metrics: Metrics) -> None:
        self.model = model
        self._settings = settings
        self._metrics = metrics
        self._recognizers = {
            name: Recognizer(model, detector=name, threads=1, max_pixels=settings.max_pixels)
            for name in DETECTORS
        }
        # One thread a picture: more of them for one would take turns with those of the others.
        cv2.setNumThreads(1)
        self._lookers = ThreadPoolExecutor(settings.workers, "mien-look")
        self._batches = _Batches(self._recognizers[READY], settings, metrics)
        self._line = Shares(
            settings.max_waiting,
            "too many pictures are waiting already; come again in a second",
            each=max(settings.max_images, settings.max_waiting // 2),
        )
        self._tidy: asyncio.TimerHandle | None = None
        metrics.waiting.set_function(lambda: self._line.total)

    @property
    def full(self) -> bool:
        """Whether there is no room for one picture more."""
        return self._line.full

    def check_room(self, client: str) -> None:
        """Problem 503 where there is no room for one picture more of this client's."""
        self._line.check(client)

    def close(self) -> None:
        """End the threads, after the work that they are at."""
        if self._tidy is not None:
            self._tidy.cancel()
        self._lookers.shutdown(cancel_futures=True)
        self._batches.close()

    def for_films(self) -> Recognizer:
        """For work that has a thread of its own."""
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
        """What is in each of some pictures, or what is wrong with it.

        Args:
            pictures: files' bytes; a problem is handed back in its place.
            detector: by its name.
            size: at which it looks for faces; None is its usual one.
            film: they are frames, each to be looked at once.
            explain: tell which pixels mattered.
            client: whose they are: one has half of the line at most.

        Raises:
            Problem: 422 for a size that the detector does not take; 503 where the line is full, or
                the answer takes too long.
        """
        # Ready crops are read in a moment: threads that share them would wait for one another.
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
        """Share the pictures out to the threads; one request does not wait for its own turn."""
        shares = min(len(pictures), order.threads)
        answered = await asyncio.gather(
            *(self._some(order, pictures[place::shares]) for place in range(shares))
        )
        together: list[Answer | Problem] = [_NOTHING] * len(pictures)
        for place, share in enumerate(answered):
            together[place::shares] = share
        return together

    async def _some(
        self, order: _Order, pictures: Sequence[bytes | Problem]
    ) -> list[Answer | Problem]:
        loop = asyncio.get_running_loop()
        with self._batches.coming():
            looked = await loop.run_in_executor(self._lookers, _look, order, pictures)
        faces = await self._batches.answer([one[0] for one in looked if isinstance(one, tuple)])
        rest = iter(faces)
        return [Answer(next(rest), one[1]) if isinstance(one, tuple) else one for one in looked]


_NOTHING = Problem(500, "no answer")


def _look(
    order: _Order, pictures: Sequence[bytes | Problem]
) -> list[tuple[Seen, list[Reason]] | Problem]:
    """Find the faces of some pictures; runs in a thread of the pool."""
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
    """Refuse what is no picture by its first bytes, whatever it says it is."""
    if not picture:
        raise Problem(422, "the picture: has no bytes; send one that has some")
    if not _STARTS.match(picture):
        raise Problem(415, f"the picture: is none of {', '.join(FORMATS)}; convert it to one")


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
    """Gathers the faces of requests that come together, and has them classified at once.

    While every thread is at work faces gather on: larger batches cost less a face, and handing them
    over earlier would only put them in another line. Only a batch that is full is laid ready for the
    first thread that is done, which then does not have to wait for the event loop's turn.
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
        """Within, more faces are on their way: those that are here wait a little for them."""
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
        """Hand what was gathered to the threads that are idle, a batch each, and a full one beyond."""
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
        if self._timer is None:  # nothing here has a reason to wait
            self._send()


@dataclass(frozen=True)
class _Asked:
    """The looked-at pictures of a request, how many faces they have, and where their answer goes."""

    seen: list[Seen]
    faces: int
    answered: asyncio.Future[list[Faces]]


def _share_out(batch: list[_Asked], done: asyncio.Future[list[Faces]]) -> None:
    """Give each request its part of what was answered to all."""
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    answers = iter([] if error else done.result())
    for asked in batch:
        part = [] if error else [next(answers) for _ in asked.seen]
        if asked.answered.done():  # nobody waits any more
            continue
        if error:
            asked.answered.set_exception(error)
        else:
            asked.answered.set_result(part)
