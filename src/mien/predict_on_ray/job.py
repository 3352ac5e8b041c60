"""A job: shards dealt out to the workers of a Ray cluster until each has its file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mien.errors import InputError, one_line
from mien.files import json_object, refuse_another, spreadsheet_name
from mien.predict_on_ray.cluster import ray_cluster
from mien.predict_on_ray.shards import Plan, Shard, checked_column
from mien.predict_on_ray.storage import Place
from mien.predict_on_ray.work import RESULTS, Counts, Work, counts_of, recognise_shard
from mien.recognise.detectors import USUAL
from mien.recognise.naming import find_model
from mien.recognise.recognizer import Recognizer

#: Workers that may die on a shard before it is left; the same command tries it again.
_RETRIES = 3
#: Footers of finished shards that are read at a time.
_READERS = 16


@dataclass(frozen=True)
class Recognised:
    """What a job came to.

    counts: of all shards that have their file, those of earlier calls with them.
    shards: how many there are; done_before: how many had been done by earlier calls.
    failed: (file, why) of shards that have no file: their workers died, or a disk failed.
    results: where the tables lie.
    """

    counts: Counts
    shards: int
    done_before: int
    failed: list[tuple[str, str]]
    results: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; of the broken pictures their number, `broken.csv` lists them."""
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
    """Recognise all pictures of a dataset on a Ray cluster; called again, it goes on.

    Writes below `out`: `results/part-*.parquet` (rows as `mien predict --csv` writes them, in the
    dataset's order), `plan.json` and `plan.parquet` (which pictures there are: those that come later
    are not among them), `broken.csv` and `summary.json`.

    Args:
        dataset: a folder of pictures, a parquet file or a folder of them with a column of encoded
            pictures; a path that all workers see, or an address (`s3://bucket/photos`).
        out: a folder, or an address, that all workers write to.
        model: a model by name, its file or a run folder; by default the one inside the package. An address
            is not fetched by a job; it is opened if it is in the cache.
        faces: `yunet` finds them; `none` where each picture is one.
        size: at which faces are looked for, as `YuNet` says.
        device: where the network computes; with `cuda` each worker asks Ray for a GPU.
        column: of the encoded pictures in parquet files; by default the one that holds bytes.
        shard: pictures in a shard: what is lost when a worker dies. A row group of a parquet file is
            a shard of its own.
        workers: shards at a time; by default one a core (or GPU) of the cluster.
        progress: told after every shard: shards done, shards in all, what came of them.

    Raises:
        InputError: no such data, an `out` that holds another job, a model that is none.
        MissingExtraError: without the 'scale' extra.
    """
    if shard < 1 or (workers is not None and workers < 1):
        raise InputError("pictures in a shard and workers are 1 or more")
    content = find_model(model).content
    # What is wrong is said at once; only the workers need a GPU.
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
    """Counts so far, told on."""

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
    """The plan that `out` holds, or a new one; InputError where it holds another job."""
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
    out.write("plan.json", json.dumps(about, indent=2).encode())  # the last: what it says is there
    return plan, column


def _run(
    work: Work, shards: Iterable[Shard], workers: int | None, counter: _Counter
) -> list[tuple[str, str]]:
    """Keep as many shards in work as there are workers; (file, why) of those that failed."""
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
        shared = ray.put(work)  # the model goes to each machine once
        waiting = iter(shards)
        running: dict[Any, Shard] = {}
        while True:
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
    """Sweep what dead workers left, and write what came of it all."""
    if out.is_local:
        for stray in Path(out.below(RESULTS)).glob(".part-*.part"):
            stray.unlink()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "error"])
    writer.writerows((spreadsheet_name(name), why) for name, why in summary.counts.broken)
    out.write("broken.csv", text.getvalue().encode(errors="backslashreplace"))
    out.write("summary.json", (json.dumps(summary.to_dict(), indent=2) + "\n").encode())
