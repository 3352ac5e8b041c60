"""Run a job: distribute shards to the workers of a Ray cluster until each shard has its file."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mien.errors import InputError, extra_required, one_line
from mien.files import json_object, refuse_another, spreadsheet_name
from mien.predict_on_ray.shards import Plan, Shard, checked_column
from mien.predict_on_ray.storage import Place
from mien.predict_on_ray.work import RESULTS, Counts, Work, counts_of, recognise_shard
from mien.recognise.detectors import USUAL
from mien.recognise.naming import find_model
from mien.recognise.recognizer import Recognizer

#: Retries of a shard whose worker died; then it counts as failed, and the same command tries it again.
_RETRIES = 3
#: Number of threads that read the footers of finished shards.
_READERS = 16


@dataclass(frozen=True)
class Recognised:
    """The result of a job.

    Attributes:
        counts: sums over all finished shards, those of earlier calls included.
        shards: number of shards.
        done_before: number of shards finished by earlier calls.
        failed: (file, reason) of shards without a file: their workers died, or a disk failed.
        results: the folder of the tables.
    """

    counts: Counts
    shards: int
    done_before: int
    failed: list[tuple[str, str]]
    results: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; broken pictures only as a number, because `broken.csv` lists them."""
        told = vars(self.counts) | {"broken": len(self.counts.broken)}
        return {
            **told,
            "shards": self.shards,
            "failed": [{"shard": shard, "error": why} for shard, why in self.failed],
            "results": self.results,
        }


def recognise(
    dataset: str | Path,
    out: str | Path,
    *,
    model: str | Path | None = None,
    faces: str = USUAL,
    size: int | None = None,
    device: str = "cpu",
    column: str | None = None,
    shard: int = 512,
    workers: int | None = None,
    progress: Callable[[int, int, Counts], None] | None = None,
) -> Recognised:
    """Recognise all pictures of a dataset on a Ray cluster. Repeat an interrupted call to continue.

    Writes below `out`: `results/part-*.parquet` (the rows of `mien predict --csv`, in the dataset's
    order), `plan.json` and `plan.parquet` (the pictures; those added to the dataset later are not
    included), `broken.csv` and `summary.json`.

    Args:
        dataset: a folder of pictures, or a parquet file or a folder of them with a column of encoded
            pictures: a path on all workers, or an address (`s3://bucket/photos`).
        out: a folder or address that all workers can write to.
        model: the name of a model, its file or a run folder; default: the model inside the package. A model
            at an address is not downloaded by a job; it is used if it is in the cache.
        faces: the detector, `yunet`; or `none` if each picture is a single face.
        size: the size for face detection, see `YuNet`.
        device: the device of the network; with `cuda` each worker requests a GPU from Ray.
        column: the column of encoded pictures in parquet files; default: the only column of bytes.
        shard: pictures in a shard, the work lost if a worker dies. In parquet files each row group is a
            shard.
        workers: shards at a time; default: one for each core (or GPU) of the cluster.
        progress: called after each shard with the shards done, their total, and the counts so far.

    Raises:
        InputError: there are no such data, `out` holds another job, or the model cannot be opened.
        MissingExtraError: the 'scale' extra is not installed.
    """
    if shard < 1 or (workers is not None and workers < 1):
        raise InputError("--shard and --workers have to be 1 or more")
    content = find_model(model).content
    # Open the model here first, so that errors are raised before workers start; only they need a GPU.
    here = "cpu" if device.startswith("cuda") else device
    card = Recognizer(content, device=here, threads=1, detector=faces, size=size).card
    source, target = Place.of(dataset), Place.of(out)
    settings = {"dataset": source.where, "model": card.digest, "faces": faces, "size": size}
    plan, column = _plan(source, target, settings, column, shard)
    work = Work(source, target, content, faces, size, device, column)

    present = target.names(RESULTS)
    left = [one for one in plan if one.file not in present]
    counter = _Counter(len(plan), progress)
    with ThreadPoolExecutor(_READERS) as readers:
        done = [one.file for one in plan if one.file in present]
        counter.add(*readers.map(partial(counts_of, target), done))
    failed = _run(work, left, workers, counter) if left else []
    where = target.shown(target.below(RESULTS))
    summary = Recognised(counter.counts, len(plan), len(done), failed, where)
    _finish(target, summary)
    return summary


class _Counter:
    """Sums the counts of finished shards, and reports them."""

    def __init__(self, shards: int, progress: Callable[[int, int, Counts], None] | None) -> None:
        self._shards, self._progress = shards, progress
        self._done = 0
        self.counts = Counts()

    def add(self, *counts: Counts) -> None:
        for one in counts:
            self.counts += one
        self._done += len(counts)
        if self._progress is not None:
            self._progress(self._done, self._shards, self.counts)


def _plan(
    source: Place, out: Place, settings: dict[str, Any], column: str | None, size: int
) -> tuple[Plan, str | None]:
    """Read the plan in `out`, or make and write a new one; returns the plan and the column of pictures.

    Raises:
        InputError: `out` holds another job or an incomplete plan, or there are no pictures.
    """
    kept = out.read("plan.json")
    if kept is not None:
        about = json_object(kept, out.shown(out.below("plan.json")), "choose another --out")
        wanted = settings | {"column": column or about.get("column")}
        refuse_another(out.where, about, wanted, "a job")
        table = out.read("plan.parquet")
        if table is None:
            raise InputError(f"{out.where}: its plan.parquet is gone; choose another --out")
        return Plan.from_bytes(table), about["column"]
    plan = Plan.of(source, out, size)
    column = checked_column(source, plan, column)
    about = settings | {"column": column, "shards": len(plan)}
    out.write("plan.parquet", plan.to_bytes())
    # Last, because it marks the plan as complete.
    out.write("plan.json", json.dumps(about, indent=2).encode())
    return plan, column


def _run(
    work: Work, shards: Iterable[Shard], workers: int | None, counter: _Counter
) -> list[tuple[str, str]]:
    """Run the shards, as many at a time as there are workers; returns (file, reason) of failed ones."""
    failed: list[tuple[str, str]] = []
    with ray_cluster("Recognising with Ray", workers) as ray:
        unit = "GPU" if work.device.startswith("cuda") else "CPU"
        at_once = workers or max(1, int(ray.cluster_resources().get(unit, 0)))
        task = ray.remote(
            num_cpus=1,
            num_gpus=1 if unit == "GPU" else 0,
            max_retries=_RETRIES,
            scheduling_strategy="SPREAD",
        )(recognise_shard)
        shared = ray.put(work)  # so that the model is sent only once to each machine
        waiting = iter(shards)
        running: dict[Any, Shard] = {}
        while True:
            # Only as many tasks as workers are submitted, so that Ray never queues millions of them.
            for shard in islice(waiting, at_once - len(running)):
                running[task.remote(shared, shard)] = shard
            if not running:
                return failed
            (ready, *_), _ = ray.wait(list(running))
            shard = running.pop(ready)
            try:
                counter.add(ray.get(ready))
            except ray.exceptions.RayTaskError as error:
                failed.append((shard.file, one_line(error.cause)))
            except ray.exceptions.RayError as error:
                failed.append(
                    (shard.file, f"its worker died {_RETRIES + 1} times ({one_line(error)})")
                )


def _finish(out: Place, summary: Recognised) -> None:
    """Remove unfinished files of dead workers, and write broken.csv and summary.json."""
    if out.is_local:
        for stray in Path(out.below(RESULTS)).glob(".part-*.part"):
            stray.unlink()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "error"])
    writer.writerows((spreadsheet_name(name), why) for name, why in summary.counts.broken)
    # Names of files need not be valid Unicode.
    out.write("broken.csv", text.getvalue().encode(errors="backslashreplace"))
    out.write("summary.json", (json.dumps(summary.to_dict(), indent=2) + "\n").encode())


@contextmanager
def ray_cluster(purpose: str, workers: int | None = None) -> Iterator[Any]:
    """Connect to Ray, and start a cluster on this machine if needed, which stops when the block ends.

    Args:
        purpose: named in the message if Ray is not installed.
        workers: cores of a cluster that is started here; by default all.

    Yields:
        The module `ray`, connected.

    Raises:
        InputError: the cluster that RAY_ADDRESS names does not answer.
        MissingExtraError: Ray is not installed.
    """
    address = os.environ.get("RAY_ADDRESS", "local")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    if address == "local":  # otherwise Ray replaces 127.0.0.1 by an address that others can reach
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    with extra_required("scale", purpose):
        import ray
    if ray.is_initialized():  # the caller has connected, and shuts it down
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":
            ray.init(
                address,
                num_cpus=workers,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        else:
            ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"RAY_ADDRESS={address}: no Ray cluster there ({one_line(error)})"
        ) from error
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:  # Ray's handler would exit with the signal's number, not with 128 + number
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield ray
    finally:
        ray.shutdown()
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)
