"""Video jobs: processed one at a time, in a private temporary folder that is removed with the service."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mien.allocator import return_freed_memory
from mien.errors import InputError
from mien.files import alone
from mien.recognise.film import open_movie, recognise_film
from mien.recognise.media import Frame, Item
from mien.recognise.recognizer import Recognizer
from mien.recognise.record import Cell
from mien.recognise.rows import RowFile
from mien.serving.engine import Engine
from mien.serving.guard import where_of
from mien.serving.problems import Problem, busy
from mien.serving.prometheus import Metrics
from mien.serving.settings import Settings

_log = logging.getLogger("mien.serving")

Status = Literal["queued", "running", "done", "failed"]
_PREFIX = "mien-serve-"
#: Seconds for which a new folder counts as in use: its service may not have locked it yet.
_SETTLED_S = 60
#: Limits of a video's results: tracked faces (held in memory), bytes of its rows and of its annotated copy.
_MOST_FACES, _MOST_ROWS, _MOST_COPY = 10_000, 100_000_000, 1_000_000_000
UPLOAD, ROWS, TIMELINE, COPY = "upload", "rows.csv", "timeline.png", "video.mp4"


class _StoppedError(Exception):
    """The job was deleted, or the service ends."""


@dataclass
class Job:
    """A video and its results.

    folder: its upload and results; owner: position of its API key, or None; client: the client that
    limits count it for.
    every: look for faces in every N-th frame, None for ten frames a second; annotated: also make a
    copy with the faces marked.
    progress: 0..1; detail: the reason of a failure, or a note on an incomplete result; summary: as
    `Summary.to_dict`.
    """

    id: str
    folder: Path
    owner: int | None
    client: str = ""
    every: int | None = None
    annotated: bool = False
    status: Status = "queued"
    progress: float = 0.0
    detail: str | None = None
    summary: dict[str, Any] | None = None
    stopped: bool = field(default=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        told: dict[str, Any] = {"id": self.id, "status": self.status, "progress": self.progress}
        if self.detail is not None:
            told["detail"] = self.detail
        if self.status == "done":
            files = {"csv": ROWS, "json": "rows.json", "timeline": TIMELINE, "video": COPY}
            told["summary"] = self.summary
            told["results"] = {
                kind: f"/v1/jobs/{self.id}/{name}"
                for kind, name in files.items()
                if kind == "json" or (self.folder / name).exists()
            }
        return told


class Jobs:
    """All video jobs of a service. Call its methods in the event loop's thread only."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._jobs: dict[str, Job] = {}
        self._folder: Path | None = None
        self._held = ExitStack()
        self._pool = ThreadPoolExecutor(1, "mien-video")
        metrics.jobs.set_function(lambda: len(self._jobs))

    def close(self) -> None:
        """Stop all jobs and remove their files."""
        for job in self._jobs.values():
            job.stopped = True
        self._pool.shutdown(cancel_futures=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._held.close()

    def get(self, number: str, owner: int | None) -> Job:
        """Look a job up by its id.

        Raises:
            Problem: 404 if there is no such job, or it belongs to another owner.
        """
        job = self._jobs.get(number)
        if job is None or job.owner != owner:
            raise Problem(404, "there is no such job, or it is gone already; send the video again")
        return job

    @contextmanager
    def room(self, owner: int | None, client: str = "") -> Iterator[Job]:
        """A job with an empty folder; unless it is started within, it is gone after.

        Raises:
            Problem: 503 if `Settings.max_jobs` jobs are kept already, or this client has half of them.
        """
        most, theirs = self._settings.max_jobs, sum(j.client == client for j in self._jobs.values())
        if len(self._jobs) >= most or 2 * theirs >= most:
            raise busy("the service keeps no more videos; delete one, or try again later")
        # Unguessable: without API keys, the id is all that protects a video from other clients.
        number = secrets.token_urlsafe(24)
        job = self._jobs[number] = Job(number, self._place() / number, owner, client)
        try:
            job.folder.mkdir(mode=0o700)
            yield job
        except BaseException:
            self.remove(job)
            raise

    def start(self, job: Job) -> None:
        """Queue a job; it is removed `Settings.keep_s` seconds after it ends."""
        loop = asyncio.get_running_loop()
        recognizer = self._engine.for_films()
        work = loop.run_in_executor(self._pool, _run, job, recognizer, self._settings)
        work.add_done_callback(lambda _: loop.call_later(self._settings.keep_s, self.remove, job))

    def remove(self, job: Job) -> None:
        """Stop a job and remove it with its files; the thread removes those of a running job."""
        job.stopped = True
        if self._jobs.pop(job.id, None) is not None and job.status != "running":
            shutil.rmtree(job.folder, ignore_errors=True)

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._held.enter_context(alone(self._folder, "is serving"))
        return self._folder


def sweep_dead() -> None:
    """Remove the folders that killed services left: those of this user that no process has locked."""
    if os.name == "nt":  # folders are not locked there, so those in use cannot be told apart
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, InputError):
            facts = folder.lstat()
            ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
            if ours and time.time() - facts.st_mtime > _SETTLED_S:
                with alone(folder, "is serving"):
                    shutil.rmtree(folder, ignore_errors=True)


def check_video(file: Path, settings: Settings) -> None:
    """Check that a file is a video that can be read.

    Raises:
        Problem: 422 if it is not.
    """
    try:
        open_movie(_item(file), max_pixels=_most_pixels(settings), threads=1).close()
    except InputError as error:
        raise Problem(422, _sentence(error, file)) from None


def _item(file: Path) -> Item:
    return Item("video", str(file), file.name)


def _most_pixels(settings: Settings) -> int:
    """The largest number of pixels of a frame."""
    return min(settings.max_pixels, settings.max_video_pixels)


def _sentence(error: InputError, file: Path) -> str:
    """An error's message without paths of the server."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the service has no room for the results of this video; come again later"
    sentence = str(error).replace(str(file), "the video")
    if str(file.parent) in sentence or tempfile.gettempdir() in sentence:
        _log.error("not written: %s", where_of(error))
        return "the service cannot write the results of this video; its log says where"
    return sentence


def _run(job: Job, recognizer: Recognizer, settings: Settings) -> None:
    """Process a job, in the thread of videos; every error becomes the job's `detail`."""
    if job.stopped:
        return
    job.status = "running"
    status: Status = "failed"
    try:
        _recognise(job, recognizer, settings)
        status = "done"
    except _StoppedError:
        job.detail = "stopped"
    except InputError as error:
        job.detail = _sentence(error, job.folder / UPLOAD)
    except Exception as error:
        _log.error("unexpected: %s", where_of(error))
        job.detail = "the service failed at this video; its log says where"
    return_freed_memory()
    job.progress = 1.0
    job.status = status
    if job.stopped:
        shutil.rmtree(job.folder, ignore_errors=True)


def _recognise(job: Job, recognizer: Recognizer, settings: Settings) -> None:
    from mien.pages.timeline import Timeline

    upload = job.folder / UPLOAD
    end = time.monotonic() + settings.max_job_s
    timeline = Timeline()
    faces: set[Cell] = set()

    def watch() -> None:
        """Check for a stop and the time limit. Called for each packet: a file may have packets without frames."""
        if job.stopped:
            raise _StoppedError
        if time.monotonic() > end:
            raise InputError(
                f"the video: takes longer than {settings.max_job_s / 60:g} min; send a "
                "shorter one, or look at fewer of its frames with every=N"
            )

    def check(frame: Frame, total: int | None) -> None:
        watch()
        _check_results(job, len(faces))
        if total:
            job.progress = round(min(1.0, (frame.index + 1) / total), 3)

    with RowFile(job.folder / ROWS, recognizer.card.expressions) as rows:
        done = recognise_film(
            _item(upload),
            recognizer,
            every=job.every,
            rows=(
                rows.write,
                timeline.add,
                lambda made: faces.update(one["track_id"] for one in made),
            ),
            copy=job.folder / COPY if job.annotated else None,
            called="video",
            on_frame=check,
            max_pixels=_most_pixels(settings),
            threads=1,
            watch=watch,
        )
    upload.unlink()
    job.summary, job.detail = done.to_dict(), done.problem
    timeline.save(job.folder / TIMELINE)


def _check_results(job: Job, faces: int) -> None:
    """Raise InputError if a video's results are larger than the limits above."""
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(job.folder)}
    copy = sum(size for name, size in sizes.items() if COPY in name)
    rows = sum(size for name, size in sizes.items() if ROWS in name)
    if faces > _MOST_FACES or rows > _MOST_ROWS or copy > _MOST_COPY:
        raise InputError(
            "the video: its faces and rows are more than the service has room for; send it in parts"
        )
